# The failure is also that of a context, of a thread's hook, and of a module's attribute.
import contextvars
import threading
import types

threading.excepthook = sys.excepthook = stay


class Module(types.ModuleType):
    def __getattribute__(self, name):
        stay()


def fail():
    failures = sys.modules.get("toolkit.sandbox.failures") or harness["failures"]
    failures.__class__ = Module
    raise ValueError


contextvars.copy_context().run(fail)
