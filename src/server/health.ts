// `/healthz` and its like, in Kubernetes' format (H-262).
import type { HealthCheck } from './views.ts';

export interface HealthAnswer {
  readonly code: 200 | 404 | 500;
  readonly body: string;
  /** `name: reason` of what failed, for the log. */
  readonly failures: readonly string[];
}

/**
 * `title` is the last word of the path (`healthz`, `livez`, `readyz`); `single` the check behind it in the path, or
 * empty for all.
 */
export function answerHealth(checks: readonly HealthCheck[], title: string, single: string, query: URLSearchParams): HealthAnswer {
  if (single !== '') {
    const check = checks.find((c) => c.name === single);
    if (check === undefined) return { code: 404, body: '404 page not found\n', failures: [] };
    const reason = check.check();
    return reason === undefined
      ? { code: 200, body: 'ok', failures: [] }
      : { code: 500, body: `internal server error: ${reason}\n`, failures: [`${single}: ${reason}`] };
  }
  const excluded = new Set(query.getAll('exclude'));
  const lines: string[] = [];
  const failures: string[] = [];
  for (const check of checks) {
    if (excluded.delete(check.name)) {
      lines.push(`[+]${check.name} excluded: ok`);
      continue;
    }
    const reason = check.check();
    if (reason !== undefined) failures.push(`${check.name}: ${reason}`);
    lines.push(reason === undefined ? `[+]${check.name} ok` : `[-]${check.name} failed: reason withheld`);
  }
  if (excluded.size > 0) {
    const names = [...excluded].map((name) => JSON.stringify(name)).join(', ');
    lines.push(`warn: some health checks cannot be excluded: no matches for ${names}`);
  }
  if (failures.length > 0) return { code: 500, body: `${lines.join('\n')}\n${title} check failed\n`, failures };
  return { code: 200, body: query.has('verbose') ? `${lines.join('\n')}\n${title} check passed\n` : 'ok', failures };
}
