// What the agent tells its own command line beyond Kubernetes' API: verdicts of manifests, what others would change, and
// the configuration. Only on the root-only unix socket.
import { Hono } from 'hono';
import { toRfc3339 } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import { readBody } from './body.ts';
import { type DiffView, decodeProposal } from './diff-api.ts';
import { ApiError } from './kube/api-error.ts';
import type { ConfigView, ManifestStatus, ManifestsView, TroublesView } from './views.ts';

/** A folder of thousands of manifests, in base64. */
const maxProposalBytes = 64 * 1024 * 1024;

export interface AgentApiDeps {
  readonly manifests: ManifestsView;
  readonly diff: DiffView;
  readonly troubles: TroublesView;
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
  app.post('/pinpod/v1/diff', async (c) => {
    const { files, prune } = decodeProposal((await readBody(c.req.raw, maxProposalBytes)).toString('utf8'));
    const answer = await deps.diff.diff(files, { prune, signal: c.req.raw.signal });
    if (answer === undefined) throw new ApiError(409, 'Conflict', 'the agent has no folder of manifests (staticPodPath)');
    return c.json(answer);
  });
  app.onError((error) => {
    const known = error instanceof ApiError ? error : new ApiError(500, 'InternalError', messageOf(error), undefined, error);
    return Response.json(known.status, { status: known.status.code });
  });
  app.get('/pinpod/v1/doctor', (c) => c.json(deps.troubles.report()));
  app.get('/pinpod/v1/config', (c) => c.json({ kubelet: deps.config.kubelet(), agent: deps.config.agent() }));
  return app;
}
