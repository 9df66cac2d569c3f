// Credentials from a program (client.authentication.k8s.io): run when there is none yet, when the last one expires, and
// when the server no longer took it.

import { type Clock, fromRfc3339, type Instant } from '../std/clock.ts';
import { withDeadline } from '../std/deadline.ts';
import { AgentError, messageOf } from '../std/errors.ts';
import { runProgram } from '../std/process.ts';
import { ApiError } from './kube-api.ts';
import type { ExecPlugin } from './kubeconfig-file.ts';

export interface ExecCredential {
  readonly token: string | undefined;
  /** PEM. */
  readonly certificate: string | undefined;
  readonly key: string | undefined;
}

/** Told to a program that asks for it (`provideClusterInfo`). */
export interface ClusterInfo {
  readonly server: string;
  readonly 'certificate-authority-data'?: string;
  readonly 'tls-server-name'?: string;
  readonly 'insecure-skip-tls-verify'?: true;
}

const timeoutMs = 60_000;

export class ExecCredentials {
  readonly #plugin: ExecPlugin;
  readonly #cluster: ClusterInfo;
  readonly #clock: Clock;
  #last: { readonly credential: ExecCredential; readonly expiresAt: Instant } | undefined;

  constructor(options: { readonly plugin: ExecPlugin; readonly cluster: ClusterInfo }, deps: { readonly clock: Clock }) {
    this.#plugin = options.plugin;
    this.#cluster = options.cluster;
    this.#clock = deps.clock;
  }

  /** The program is asked again. */
  forget(): void {
    this.#last = undefined;
  }

  /** Rejects with an ApiError `credentials` that says what to do. */
  async current({ signal }: { readonly signal: AbortSignal }): Promise<ExecCredential> {
    if (this.#last === undefined || this.#clock.now() >= this.#last.expiresAt) this.#last = await this.#run(signal);
    return this.#last.credential;
  }

  async #run(signal: AbortSignal) {
    const { apiVersion, command, args, env, provideClusterInfo, installHint } = this.#plugin;
    const info = {
      apiVersion,
      kind: 'ExecCredential',
      spec: { interactive: false, ...(provideClusterInfo ? { cluster: this.#cluster } : {}) },
    };
    const extraEnv = { ...env, KUBERNETES_EXEC_INFO: JSON.stringify(info) };
    try {
      const { stdout } = await withDeadline({ ms: timeoutMs, signal, clock: this.#clock }, (limited) =>
        runProgram(command, args, { signal: limited, extraEnv }),
      );
      return this.#read(stdout);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ApiError) throw error;
      const isMissing = error instanceof AgentError && error.code === 'program-missing';
      const hint = isMissing && installHint !== undefined ? `; ${installHint}` : '';
      throw new ApiError('credentials', `exec plugin ${command}: ${messageOf(error)}${hint}`, { cause: error });
    }
  }

  #read(output: string) {
    const { apiVersion, command } = this.#plugin;
    const fault = (what: string): ApiError => new ApiError('credentials', `exec plugin ${command}: ${what}`);
    let answer: Partial<Record<string, unknown>> | null;
    try {
      answer = JSON.parse(output) as typeof answer;
    } catch {
      // What it printed may be a secret.
      throw fault('its answer is not JSON');
    }
    if (answer?.['kind'] !== 'ExecCredential' || answer['apiVersion'] !== apiVersion) {
      throw fault(`its answer is no ExecCredential of ${apiVersion}`);
    }
    const status = (answer['status'] ?? {}) as Readonly<Record<string, unknown>>;
    const text = (name: string): string | undefined => {
      const value = status[name];
      return typeof value === 'string' && value !== '' ? value : undefined;
    };
    const credential = { token: text('token'), certificate: text('clientCertificateData'), key: text('clientKeyData') };
    if (credential.token === undefined && credential.certificate === undefined)
      throw fault('its answer has neither a token nor a certificate');
    if ((credential.certificate === undefined) !== (credential.key === undefined))
      throw fault('its answer has a certificate or a key without the other');
    const expires = text('expirationTimestamp');
    const expiresAt = expires === undefined ? Number.POSITIVE_INFINITY : fromRfc3339(expires);
    if (expiresAt === undefined) throw fault('its expirationTimestamp cannot be read');
    return { credential, expiresAt };
  }
}
