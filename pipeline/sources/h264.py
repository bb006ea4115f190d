"""Whether pictures of an H.264 stream are missing, by their numbers (ISO/IEC 14496-10, 7.3)."""

from __future__ import annotations

from collections.abc import Iterator

_SLICE, _IDR, _SPS = 1, 5, 7
_START = b"\0\0\1"
_HEADER = 512  # bytes of a unit that are looked at; scaling lists included
_CHROMA_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}


class _Bits:
    """The bits of a unit, without the bytes that keep start codes out of it."""

    def __init__(self, unit: bytes) -> None:
        data = unit[:_HEADER].replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """The next ``count`` bits.

        Raises:
            ValueError: there are not so many.
        """
        if count > self._left:
            raise ValueError("the unit is too short")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def number(self) -> int:
        """An Exp-Golomb number (9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """A signed one (9.1.1)."""
        number = self.number()
        return (number + 1) // 2 if number % 2 else -(number // 2)


def units(data: bytes) -> Iterator[bytes]:
    """The NAL units of ``data``, which has start codes (Annex B)."""
    begin = data.find(_START)
    while begin >= 0:
        end = data.find(_START, begin + 3)
        yield data[begin + 3 : end if end >= 0 else len(data)]
        begin = end


class FrameNumbers:
    """Follows ``frame_num`` through the packets of one stream.

    Pictures that others are predicted from are numbered one by one: where a number is
    left out, what follows is predicted from the wrong picture, and a decoder conceals
    it without a word.
    """

    def __init__(self) -> None:
        self._bits: int | None = None  # of a number; None: not known, or gaps are allowed
        self._last: int | None = None  # of the last picture that others may need

    def __call__(self, data: bytes) -> bool:
        """Whether pictures are missing before the packet ``data``."""
        missing = False
        for unit in units(data):
            try:
                missing |= self._unit(unit)
            except ValueError:
                missing = True
        return missing

    def _unit(self, unit: bytes) -> bool:
        kind = unit[0] & 31 if unit else 0
        if kind == _SPS:
            self._sequence(_Bits(unit[1:]))
        elif kind == _IDR:
            self._last = 0
        elif kind == _SLICE and self._bits is not None:
            return self._slice(_Bits(unit[1:]), needed=bool(unit[0] >> 5 & 3))
        return False

    def _slice(self, bits: _Bits, needed: bool) -> bool:
        bits.number()  # first macroblock
        bits.number()  # slice type
        bits.number()  # picture parameter set
        assert self._bits is not None
        number = bits.take(self._bits)
        known = self._last is None or (number - self._last) % (1 << self._bits) <= 1
        if needed:
            self._last = number
        return not known

    def _sequence(self, bits: _Bits) -> None:
        profile = bits.take(24) >> 16
        bits.number()
        separate = False
        if profile in _CHROMA_PROFILES:
            separate = self._chroma(bits)
        length = bits.number() + 4
        order = bits.number()
        if order == 0:
            bits.number()
        elif order == 1:
            bits.take(1)
            bits.signed()
            bits.signed()
            for _ in range(bits.number()):
                bits.signed()
        bits.number()  # reference pictures
        gaps = bits.take(1)
        self._bits = None if gaps or separate else length

    @staticmethod
    def _chroma(bits: _Bits) -> bool:
        """Skip what only high profiles have; whether colour planes are coded apart."""
        form = bits.number()
        separate = form == 3 and bool(bits.take(1))
        bits.number()
        bits.number()
        bits.take(1)
        if bits.take(1):
            for k in range(8 if form != 3 else 12):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if k < 6 else 64)
        return separate


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last
