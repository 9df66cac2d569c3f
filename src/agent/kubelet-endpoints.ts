// The kubelet's ports for as long as the agent runs. One that is taken stops nothing, the others neither: it is told, and
// tried again.
import path from 'node:path';
import type { EventSink } from '../api/events.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { openSslCiphers } from '../config/cipher-suites.ts';
import type { KubeletApiOptions } from '../server/kubelet/app.ts';
import { type KubeletListener, KubeletServer, type KubeletServerDeps, type KubeletServerOptions } from '../server/kubelet-server.ts';
import { raceSignal } from '../std/async.ts';

export interface KubeletEndpointsDeps extends Omit<KubeletServerDeps, 'onOpen' | 'onFault'> {
  readonly events: EventSink;
  /** The main port is served, at this number. */
  readonly onServing: (port: number) => void;
  /** Why some of the ports are not served; undefined when all are. */
  readonly onFault: (message: string | undefined) => void;
}

/** Serves until the signal aborts. Each fault is told once, with a log line and an Event, until it is over. */
export async function serveKubeletEndpoints(
  config: AgentConfig,
  deps: KubeletEndpointsDeps,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const faults = new Map<KubeletListener, string>();
  const tell = (): void => deps.onFault(faults.size === 0 ? undefined : [...faults.values()].join('; '));
  const server = new KubeletServer(kubeletServerOptions(config), {
    ...deps,
    onOpen: (listener, port) => {
      faults.delete(listener);
      tell();
      if (listener === 'main') deps.onServing(port);
      deps.log.info('kubelet endpoint', { listener, port });
    },
    onFault: (listener, fault) => {
      const message = `the kubelet's ${names[listener]} port cannot be served yet: ${fault}`;
      if (faults.get(listener) === message) return;
      faults.set(listener, message);
      tell();
      deps.log.warn(message);
      const node = { kind: 'Node' as const, namespace: '', name: config.nodeName, uid: config.nodeName };
      deps.events.record(node, 'Warning', 'KubeletEndpointsFailed', message);
    },
  });
  try {
    await server.start();
    await raceSignal(server.failed, signal);
  } finally {
    await server.stop();
  }
}

const names: Readonly<Record<KubeletListener, string>> = { main: 'main', readOnly: 'read-only', healthz: 'health' };

export function kubeletServerOptions(config: AgentConfig): KubeletServerOptions {
  const { tlsCertFile: certFile, tlsPrivateKeyFile: keyFile } = config;
  // Without it the health port is there all the same (H-264).
  const isServed = config.enableServer;
  return {
    main:
      !isServed || config.port === 0
        ? undefined
        : {
            address: config.address,
            port: config.port,
            certificate:
              certFile !== undefined && keyFile !== undefined
                ? { kind: 'files', certFile, keyFile }
                : { kind: 'selfSigned', folder: config.certDir, host: config.nodeName },
            clientCaFile: config.clientCaFile,
            minVersion: config.tlsMinVersion === 'VersionTLS13' ? 'TLSv1.3' : 'TLSv1.2',
            cipherSuites: openSslCiphers(config.tlsCipherSuites),
            auth: {
              anonymous: config.anonymousAuth,
              webhook: config.authenticationWebhook,
              tokenTtlMs: config.authenticationWebhookCacheTtlMs,
              mode: config.authorizationMode,
              authorizedTtlMs: config.authorizationCacheAuthorizedTtlMs,
              unauthorizedTtlMs: config.authorizationCacheUnauthorizedTtlMs,
            },
          },
    readOnly: !isServed || config.readOnlyPort === 0 ? undefined : { address: config.address, port: config.readOnlyPort },
    healthz: config.healthzPort === 0 ? undefined : { address: config.healthzBindAddress, port: config.healthzPort },
    ...kubeletApiOptions(config),
  };
}

/** What does not depend on the listener. */
export function kubeletApiOptions(config: AgentConfig): Omit<KubeletApiOptions, 'listener'> {
  return {
    nodeName: config.nodeName,
    enableDebuggingHandlers: config.enableDebuggingHandlers,
    enableSystemLogHandler: config.enableSystemLogHandler,
    enableDebugFlagsHandler: config.enableDebugFlagsHandler,
    systemLogDir: '/var/log',
    checkpointsDir: path.join(config.rootDir, 'checkpoints'),
  };
}
