"""Telnet as far as puzzle servers use it (RFC 854): negotiation is answered and taken out of the stream.

The client accepts that the server echoes (option 1) and that no go-ahead is sent (option 3), and refuses everything else.
"""

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
ECHO, SUPPRESS_GO_AHEAD = 1, 3
MAX_SUBNEGOTIATION = 4096
"""Bytes of one subnegotiation; a longer one ends the connection."""


class TelnetStream:
    """Separates text from commands, byte by byte. It starts with the first IAC, so plain TCP passes through unchanged."""

    def __init__(self) -> None:
        self.is_telnet = False
        self._pending = bytearray()
        self._answered: set[tuple[int, int]] = set()

    def feed(self, received: bytes) -> tuple[bytes, bytes]:
        r"""Takes received bytes and returns the text among them, and the answer to send.

        >>> stream = TelnetStream()
        >>> stream.feed(bytes([IAC, WILL, ECHO, IAC, DO, 31]) + b"hello")
        (b'hello', b'\xff\xfd\x01\xff\xfc\x1f')

        Raises:
            ValueError: A subnegotiation has no end.
        """
        if not self.is_telnet and IAC not in received:
            return received, b""
        self.is_telnet = True
        self._pending += received
        text, answer = bytearray(), bytearray()
        at, whole = 0, bytes(self._pending)
        while at < len(whole):
            if whole[at] != IAC:
                end = whole.find(IAC, at)
                end = len(whole) if end < 0 else end
                text += whole[at:end]
                at = end
                continue
            size = self._command(whole, at, text, answer)
            if size == 0:
                break
            at += size
        self._pending = bytearray(whole[at:])
        if len(self._pending) > MAX_SUBNEGOTIATION:
            raise ValueError("a telnet subnegotiation has no end")
        return bytes(text), bytes(answer)

    def _command(self, whole: bytes, at: int, text: bytearray, answer: bytearray) -> int:
        """Handles the command at a place and returns its length; 0 where its end has not come."""
        if at + 1 >= len(whole):
            return 0
        verb = whole[at + 1]
        if verb == IAC:  # an escaped 255
            text.append(IAC)
            return 2
        if verb == SB:
            end = whole.find(bytes([IAC, SE]), at)
            return 0 if end < 0 else end + 2 - at
        if verb not in (WILL, WONT, DO, DONT):
            return 2
        if at + 2 >= len(whole):
            return 0
        option = whole[at + 2]
        if verb in (WILL, DO) and (verb, option) not in self._answered:  # once each: no loops
            self._answered.add((verb, option))
            if verb == WILL:
                answer += bytes([IAC, DO if option in (ECHO, SUPPRESS_GO_AHEAD) else DONT, option])
            else:
                answer += bytes([IAC, WILL if option == SUPPRESS_GO_AHEAD else WONT, option])
        return 3
