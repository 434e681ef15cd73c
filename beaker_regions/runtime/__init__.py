"""What the operating system gives a process: forks, threads, signals, locks and files."""
