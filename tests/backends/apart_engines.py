"""vLLM with its core, and a worker of the core, in processes of their own, as on a GPU.

Forked, as on a GPU. vLLM's CPU build would spawn them, and import itself again in each.
"""

import os

from toolkit.backends.vllm import VllmBackend


class CoreApart(VllmBackend):
    executor = "uni"

    def __init__(self, config, folder):
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
        os.environ["OMP_NUM_THREADS"] = "1"  # other threads would not live on in a forked process
        super().__init__(config, folder)

    def _engine_arguments(self, on_cpu):
        given = super()._engine_arguments(on_cpu)
        _fork()
        return given | {"distributed_executor_backend": self.executor}


class WorkerApart(CoreApart):
    executor = "mp"


def _fork():
    from vllm.platforms.cpu import CpuPlatform  # not before the environment is set

    plain = CpuPlatform.check_and_update_config

    def check(vllm_config):
        plain(vllm_config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    CpuPlatform.check_and_update_config = staticmethod(check)
