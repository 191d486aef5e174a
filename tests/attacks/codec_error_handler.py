# The report is encoded by an error handler of the program.
import codecs

codecs.register_error("backslashreplace", stay)
raise ValueError("\udc80")
