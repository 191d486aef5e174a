# What the harness imports after the failure comes from the program.
import builtins

sys.meta_path.insert(0, type("Finder", (), {"find_spec": stay}))
sys.path_hooks.insert(0, stay)
builtins.__import__ = stay
sys.modules.clear()
