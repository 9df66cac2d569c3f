// What the agent tells its own command line beyond Kubernetes' API: verdicts of manifests and the configuration. Only
// on the root-only unix socket.
import { Hono } from 'hono';
import { toRfc3339 } from '../std/clock.ts';
import type { ConfigView, ManifestStatus, ManifestsView } from './views.ts';

export interface AgentApiDeps {
  readonly manifests: ManifestsView;
  readonly config: ConfigView;
}

/** GET /pinpod/v1/manifests. */
export interface ManifestList {
  readonly sources: readonly { readonly source: string; readonly location: string; readonly readAt?: string; readonly fault?: string }[];
  readonly manifests: readonly ManifestStatus[];
}

export function agentApi(deps: AgentApiDeps): Hono {
  const app = new Hono();
  app.get('/pinpod/v1/manifests', (c) => {
    const answer: ManifestList = {
      sources: deps.manifests.sources().map(({ source, location, readAt, fault }) => ({
        source,
        location,
        ...(readAt === undefined ? {} : { readAt: toRfc3339(readAt) }),
        ...(fault === undefined ? {} : { fault }),
      })),
      manifests: deps.manifests.manifests(),
    };
    return c.json(answer);
  });
  app.get('/pinpod/v1/config', (c) => c.json({ kubelet: deps.config.kubelet(), agent: deps.config.agent() }));
  return app;
}
