"""Figures about when the broker admitted messages, from `tidegate store dump`."""
import bisect

NS = 1_000_000_000
SIZE_FIELD = 4  # of an entry's bytes: the size of its metadata, which limits don't count


class Admissions:
    """Of one ledger (or several together), in order of time."""

    def __init__(self, rows, weight="messages"):
        rows = sorted(rows, key=lambda r: r["admitted_ns"])
        self.times = [r["admitted_ns"] for r in rows]
        self.weights = [r[weight] - (SIZE_FIELD if weight == "bytes" else 0) for r in rows]
        self.largest = max(self.weights, default=0)
        self.sums = [0]
        for w in self.weights:
            self.sums.append(self.sums[-1] + w)
        assert self.times, "nothing was stored"

    @property
    def start(self):
        return self.times[0]

    def between(self, first_ns, last_ns):
        """What was admitted in [first, last)."""
        return self.sums[bisect.bisect_left(self.times, last_ns)] - self.sums[bisect.bisect_left(self.times, first_ns)]

    def most_in_a_window(self, seconds=1):
        """The most in any window of this length, wherever it begins."""
        return max(self.between(t, t + int(seconds * NS)) for t in self.times)

    def first_refusal(self, rate, look_s=2, since_ns=None):
        """When the tokens of the start were used up: in the first <look_s> seconds (since then, or since the first message),
        the moment at which the most had been admitted beyond what the rate had earned. From there on it goes at the rate."""
        since_ns = since_ns or self.start
        first, end = (bisect.bisect_left(self.times, t) for t in (since_ns, since_ns + int(look_s * NS)))
        ahead = [self.sums[i + 1] - rate * (self.times[i] - since_ns) / NS for i in range(first, end)]
        return self.times[first + ahead.index(max(ahead))] + 1


def within(value, wanted, largest, share=0.005):
    """±0.5 % or one message (batch), whichever is larger."""
    return abs(value - wanted) <= max(wanted * share, largest)
