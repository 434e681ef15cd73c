-- For wrk: what came of a run, on one line: requests, microseconds, those that were answered with
-- an error, those that were not answered; and on another how often each latency (microseconds) was.
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("counts: %d %d %d %d\n",
    summary.requests, summary.duration, errors.status, failed))
  io.write("latencies:")
  for i = 1, #latency do
    io.write(string.format(" %d %d", latency(i)))
  end
  io.write("\n")
end
