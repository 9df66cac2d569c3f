// Credentials for pulls: the node's docker configuration file (L-367 … L-369) and exec plugins (L-370 … L-372).
import type { ImageAuth } from '../pod/runtime-config.ts';

export interface CredentialSource {
  /**
   * Credentials to try for a repository (`<domain>/<path>`, no tag), best first; empty when there are none. A source
   * that fails logs it and gives none; only an abort rejects.
   */
  lookup(repository: string, options: { readonly signal: AbortSignal }): Promise<readonly ImageAuth[]>;
}

/** For an agent without any credentials. */
export const noCredentials: CredentialSource = { lookup: async () => [] };

/** All credentials of all sources, in their order. */
export function combineCredentials(sources: readonly CredentialSource[]): CredentialSource {
  return {
    async lookup(repository, options) {
      const found = await Promise.all(sources.map((source) => source.lookup(repository, options)));
      return found.flat();
    },
  };
}
