"""The operating system's part: forks, threads, signals, locks and files."""
