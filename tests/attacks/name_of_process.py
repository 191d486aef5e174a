# The name of the process looks like the fields that follow it.
harness["make_visible"]()
with open("/proc/self/comm", "w") as name:
    name.write("x) R 1 1 1 1")
