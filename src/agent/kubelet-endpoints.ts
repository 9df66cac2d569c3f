// The kubelet's ports for as long as the agent runs. A port that is taken stops nothing: it is tried again.
import type { EventSink } from '../api/events.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { KubeletServer, type KubeletServerDeps, type KubeletServerOptions } from '../server/kubelet-server.ts';
import { messageOf } from '../std/errors.ts';

const retryMs = 5_000;

export interface KubeletEndpointsDeps extends KubeletServerDeps {
  readonly events: EventSink;
  /** The main port is served, at this number. */
  readonly onServing: (port: number) => void;
  /** Why the ports are not served. */
  readonly onFault: (message: string) => void;
}

/** Serves until the signal aborts. A start that fails is told once, with a log line and an Event, and tried every five seconds. */
export async function serveKubeletEndpoints(
  config: AgentConfig,
  deps: KubeletEndpointsDeps,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const options = kubeletServerOptions(config);
  for (let told = false; ; ) {
    const server = new KubeletServer(options, deps);
    try {
      await server.start();
      told = false;
      deps.onServing(server.ports.main);
      deps.log.info('kubelet endpoints', { ...server.ports });
      await deps.clock.sleep(Number.MAX_SAFE_INTEGER, signal);
    } catch (error) {
      signal.throwIfAborted();
      const message = `kubelet endpoints cannot be served yet: ${messageOf(error)}`;
      deps.onFault(message);
      if (!told) {
        deps.log.warn(message);
        const node = { kind: 'Node' as const, namespace: '', name: config.nodeName, uid: config.nodeName };
        deps.events.record(node, 'Warning', 'KubeletEndpointsFailed', message);
      }
      told = true;
    } finally {
      await server.stop();
    }
    await deps.clock.sleep(retryMs, signal);
  }
}

export function kubeletServerOptions(config: AgentConfig): KubeletServerOptions {
  const { tlsCertFile: certFile, tlsPrivateKeyFile: keyFile } = config;
  return {
    nodeName: config.nodeName,
    main: {
      address: config.address,
      port: config.port,
      certificate:
        certFile !== undefined && keyFile !== undefined
          ? { kind: 'files', certFile, keyFile }
          : { kind: 'selfSigned', folder: config.certDir, host: config.nodeName },
      clientCaFile: config.clientCaFile,
      minVersion: config.tlsMinVersion === 'VersionTLS13' ? 'TLSv1.3' : 'TLSv1.2',
      cipherSuites: config.tlsCipherSuites,
      auth: {
        anonymous: config.anonymousAuth,
        webhook: config.authenticationWebhook,
        tokenTtlMs: config.authenticationWebhookCacheTtlMs,
        mode: config.authorizationMode,
        authorizedTtlMs: config.authorizationCacheAuthorizedTtlMs,
        unauthorizedTtlMs: config.authorizationCacheUnauthorizedTtlMs,
      },
    },
    readOnly: config.readOnlyPort === 0 ? undefined : { address: config.address, port: config.readOnlyPort },
    healthz: config.healthzPort === 0 ? undefined : { address: config.healthzBindAddress, port: config.healthzPort },
    enableDebuggingHandlers: config.enableDebuggingHandlers,
    enableSystemLogHandler: config.enableSystemLogHandler,
    systemLogDir: '/var/log',
  };
}
