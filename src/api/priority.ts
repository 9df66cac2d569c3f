// The priorities that every cluster knows by name; other classes exist only at an API server.

/** From here on a Pod is critical whoever made it (S-096). */
export const criticalPriority = 2_000_000_000;

export const builtInPriorities: ReadonlyMap<string, number> = new Map([
  ['system-cluster-critical', criticalPriority],
  ['system-node-critical', criticalPriority + 1_000],
]);
