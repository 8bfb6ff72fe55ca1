"""Many origins that are one server: each by another address of the loopback range."""

COUNT = 500
ADDRESSES = [f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(COUNT)]
