# The course in JupyterLab:  docker build -t gans .  then  docker run --rm -p 8888:8888 gans
FROM python:3.12-slim

RUN useradd --create-home student && install --directory --owner=student /home/student/course
USER student
WORKDIR /home/student/course
# Waiting threads go to sleep soon: see CONTRIBUTING.md, "Two at once".
ENV PATH=/home/student/.local/bin:$PATH GOMP_SPINCOUNT=1000

COPY --chown=student pyproject.toml LICENSE ./
COPY --chown=student d2l_gan d2l_gan
RUN pip install --user --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu '.[lab]'
COPY --chown=student notebooks notebooks

EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--ServerApp.root_dir=notebooks"]
