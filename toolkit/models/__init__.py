"""The files of a model: the embedded one, copies on a node, compiled code, its size in memory."""
