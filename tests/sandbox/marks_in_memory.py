"""A program that looks for what was left in memory: marks such as zz000001."""

MARKS = (
    "import ctypes, re\nfound = set()\n"
    "for line in open('/proc/self/maps').read().splitlines():\n"
    "    fields = line.split()\n"
    "    a, b = (int(x, 16) for x in fields[0].split('-'))\n"
    "    if fields[1].startswith('rw') and b - a < 1 << 26:\n"
    "        found |= set(re.findall(rb'zz[0-9]{6}', ctypes.string_at(a, b - a)))\n"
)
"""Lines of Python after which `found` has the marks in all memory that the process can write."""
