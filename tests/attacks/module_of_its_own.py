# Load native code that the program has brought: here a copy of a module.
import importlib.machinery
import importlib.util
import shutil

import _json

shutil.copyfile(_json.__file__, "/tmp/_json.so")
loader = importlib.machinery.ExtensionFileLoader("_json", "/tmp/_json.so")
importlib.util.module_from_spec(importlib.util.spec_from_loader("_json", loader))
f = lambda: 1
