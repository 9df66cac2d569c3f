// What `pinpod diff` asks the agent: what would become of these manifests, and of the Pods. Only on the unix socket.
import type { FieldChange } from '../api/field-changes.ts';
import { badRequest } from './kube/api-error.ts';
import type { ManifestStatus, ViewCallOptions } from './views.ts';

/** A manifest as somebody would put it into the folder. */
export interface ProposedManifest {
  /** Absolute, or `-` for standard input. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface PodDifference {
  /** `<namespace>/<name>`, with the node's suffix. */
  readonly pod: string;
  /** The file or URL it would come from, or comes from when it would be gone. */
  readonly manifest: string;
  readonly change: 'unchanged' | 'new' | 'updated' | 'replaced' | 'removed';
  readonly reasons: readonly string[];
  readonly fields: readonly FieldChange[];
  readonly containers: readonly {
    readonly name: string;
    readonly change: 'kept' | 'restarted' | 'started' | 'stopped' | 'unaffected';
    readonly reason?: string;
  }[];
  /** Why it would not be admitted now. */
  readonly refusal?: { readonly reason: string; readonly message: string } | undefined;
}

/** The answer to POST /pinpod/v1/diff. */
export interface Differences {
  /** The verdict of each proposed manifest; `given` is the path it came with, `path` the file it would be. */
  readonly manifests: readonly (ManifestStatus & { readonly given: string })[];
  /** Those of the proposed manifests, and every other that would change; by name. */
  readonly pods: readonly PodDifference[];
}

export interface DiffView {
  /**
   * `prune`: they take the place of everything in the folder. Changes nothing. Undefined without a folder of manifests;
   * throws a RuntimeError when the runtime is silent.
   */
  diff(proposed: readonly ProposedManifest[], options: ViewCallOptions & { readonly prune: boolean }): Promise<Differences | undefined>;
}

/** The body of a request: `{"prune": false, "files": [{"path": …, "content": base64}]}`. A 400 for anything else. */
export function decodeProposal(body: string): { readonly files: readonly ProposedManifest[]; readonly prune: boolean } {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    throw badRequest('the request is not JSON', error);
  }
  const { files, prune } = (typeof value === 'object' && value !== null ? value : {}) as {
    readonly files?: unknown;
    readonly prune?: unknown;
  };
  if (!Array.isArray(files)) throw badRequest('files: must be a list');
  return {
    prune: prune === true,
    files: files.map((file: unknown) => {
      const { path, content } = (typeof file === 'object' && file !== null ? file : {}) as {
        readonly path?: unknown;
        readonly content?: unknown;
      };
      if (typeof path !== 'string' || typeof content !== 'string') throw badRequest('files: each needs a path and its content in base64');
      return { path, bytes: Buffer.from(content, 'base64') };
    }),
  };
}
