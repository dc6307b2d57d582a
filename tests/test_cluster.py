"""The example files for clusters: each is read by what would read it there."""

import json
import os
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from kubeflow.training import ApiClient
from torch.distributed.run import get_args_parser

from d2l_gan import train

CLUSTER = Path(__file__).parents[1] / 'notebooks' / 'cluster'
SBATCH = {  # of Slurm's manual page of sbatch, those of use here
    'job-name', 'nodes', 'ntasks-per-node', 'gpus-per-node', 'cpus-per-task', 'time', 'signal',
    'requeue', 'open-mode', 'output', 'partition', 'account', 'mem',
}  # fmt: skip


def as_read(job):
    """The job after Kubeflow's own models have read it: what they do not know is gone."""
    client = ApiClient()
    answer = SimpleNamespace(data=json.dumps(job))  # as if the cluster had sent it
    return client.sanitize_for_serialization(client.deserialize(answer, 'KubeflowOrgV1PyTorchJob'))


@pytest.fixture
def job():
    return yaml.safe_load((CLUSTER / 'pytorchjob.yaml').read_text())


def test_kubeflow_knows_every_field_of_the_job(job):
    assert as_read(job) == job


def test_a_field_that_kubeflow_does_not_know_is_noticed(job):
    job['spec']['pytorchReplicaSpecs']['Worker']['restartpolicy'] = 'Never'
    assert as_read(job) != job
    del job['spec']['pytorchReplicaSpecs']
    with pytest.raises(ValueError, match='pytorch_replica_specs'):
        as_read(job)


def test_the_jobs_command_is_one_that_the_parser_takes(job):
    (container,) = job['spec']['pytorchReplicaSpecs']['Worker']['template']['spec']['containers']
    assert container['name'] == 'pytorch'  # the name that the operator looks for
    (lines,) = container['args']
    subprocess.run(['bash', '-n'], input=lines, text=True, check=True)
    words = shlex.split(lines.split('-m d2l_gan.train')[1].replace('\\\n', ' '))
    args = train.parser().parse_args([word for word in words if word != '$resume'])
    assert args.epochs == 100
    gpus = container['resources']['limits']['nvidia.com/gpu']
    assert job['spec']['nprocPerNode'] == gpus


def test_slurms_options_are_slurms():
    lines = (CLUSTER / 'train.sbatch').read_text().splitlines()
    directives = [line for line in lines if line.startswith('#SBATCH')]
    assert lines[0] == '#!/bin/bash'
    assert directives == lines[1 : len(directives) + 1]  # none after the first command
    assert {line.split('--')[1].split('=')[0] for line in directives} <= SBATCH


STUBS = {  # what Slurm puts in front of a command on a machine of its own
    'scontrol': 'echo localhost',
    'srun': 'shift 2; exec "$@"',  # --cpus-per-task N
    'torchrun': 'echo "$@"',
}


def test_slurms_script_starts_the_run_and_goes_on_with_it(tmp_path):
    for name, line in STUBS.items():
        (tmp_path / name).write_text(f'#!/bin/bash\n{line}\n')
        (tmp_path / name).chmod(0o755)
    slurm = {'JOB_NAME': 'gan', 'JOB_NODELIST': 'n[1-2]', 'JOB_ID': '7', 'NNODES': '2'}
    env = {f'SLURM_{name}': value for name, value in slurm.items()} | {'SLURM_GPUS_ON_NODE': '4'}
    env |= {'SLURM_CPUS_PER_TASK': '16'}
    env |= {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'RUN': str(tmp_path)}
    line = ['bash', CLUSTER / 'train.sbatch', '--data', 'my pictures']
    for resume in ([], ['--resume']):
        said = subprocess.run(line, env=env, capture_output=True, text=True, check=True).stdout
        launch, options = said.split(' -m d2l_gan.train ')
        assert launch.startswith('--nnodes 2 --nproc-per-node 4 --rdzv-backend c10d')
        assert '--rdzv-endpoint localhost:29500 --rdzv-id 7' in launch
        get_args_parser().parse_args([*launch.split(), 'script'])
        assert options.split() == ['--out', str(tmp_path), *resume, '--data', 'my', 'pictures']
        (tmp_path / 'config.json').touch()
