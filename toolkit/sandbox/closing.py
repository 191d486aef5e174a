"""What holds processes until it is closed: the frame of its `with` statement."""

from abc import abstractmethod
from typing import Protocol, Self


class Closing(Protocol):
    """A context that closes when it ends."""

    @abstractmethod
    def close(self) -> None:
        """End and reap every process; their files go with them. Closing again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
