// The film of the opening page: a slider through the recorded moments of a game.
for (const film of document.querySelectorAll(".film")) {
  const [picture, button, slider, words] = ["img", "button", "input", "figcaption"].map(
    (name) => film.querySelector(name));
  const moments = JSON.parse(film.querySelector("script").textContent);
  const address = (i) => picture.src.replace(/\d+(?=\.webp)/, String(i).padStart(2, "0"));
  let timer = null;

  const show = (i) => {
    slider.value = i;
    slider.setAttribute("aria-valuetext", moments[i]);
    picture.src = address(i);
    picture.alt = `The lab: ${moments[i]}`;
    words.textContent = moments[i];
  };
  const pause = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "play";
  };
  const play = () => {
    moments.forEach((_, i) => { new Image().src = address(i); }); // so that none is late
    if (slider.valueAsNumber === moments.length - 1) show(0);
    button.textContent = "pause";
    timer = setInterval(() => {
      show(slider.valueAsNumber + 1);
      if (slider.valueAsNumber === moments.length - 1) pause();
    }, 400);
  };
  button.addEventListener("click", () => (timer === null ? play() : pause()));
  slider.addEventListener("input", () => {
    pause();
    show(slider.valueAsNumber);
  });
  button.hidden = slider.hidden = false;
}
