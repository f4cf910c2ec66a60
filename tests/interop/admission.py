"""Figures about when the broker admitted messages, from `tidegate store dump`."""
import bisect

NS = 1_000_000_000


class Admissions:
    """Of one ledger (or several together), in order of time."""

    def __init__(self, rows, weight="messages"):
        rows = sorted(rows, key=lambda r: r["admitted_ns"])
        self.times = [r["admitted_ns"] for r in rows]
        self.weights = [r[weight] for r in rows]
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

    def first_refusal(self, rate):
        """When the tokens of the start were used up: from here on it goes at the rate. The first moment after
        which nothing is admitted for as long as it takes to earn what was overdrawn."""
        for i in range(1, len(self.times)):
            if self.times[i] - self.times[i - 1] >= 0.5 * NS / rate and i > 1:
                return self.times[i - 1] + 1
        return self.start


def within(value, wanted, largest, share=0.005):
    """±0.5 % or one message (batch), whichever is larger."""
    return abs(value - wanted) <= max(wanted * share, largest)
