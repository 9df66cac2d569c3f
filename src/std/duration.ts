// Durations as Kubernetes prints them (Go's notation): `350ms`, `1.5s`, `1m20s`, `2h0m0s`.

/** `ms` is cut to whole milliseconds; negative values get a sign. */
export function formatDuration(ms: number): string {
  const whole = Math.trunc(Math.abs(ms));
  const sign = ms < 0 && whole > 0 ? '-' : '';
  if (whole === 0) return '0s';
  if (whole < 1000) return `${sign}${whole}ms`;
  const hours = Math.trunc(whole / 3_600_000);
  const minutes = Math.trunc((whole % 3_600_000) / 60_000);
  const seconds = String((whole % 60_000) / 1000);
  const inHours = hours > 0 ? `${hours}h` : '';
  const inMinutes = hours > 0 || minutes > 0 ? `${minutes}m` : '';
  return `${sign}${inHours}${inMinutes}${seconds}s`;
}
