# A text that is evaluated takes over what the program's text declares.
from __future__ import barry_as_FLUFL

f = lambda: 1
