# There is no room for what the audit hook tells.
import gc

os.set_blocking(pipe, False)
for size in (4096, 1):
    try:
        while True:
            os.write(pipe, harness["PASSED"] * size)
    except BlockingIOError:
        pass
try:
    gc.get_objects()
except BlockingIOError:
    pass
f = lambda: 1
