// The kubelet's listeners: the main one with TLS, the read-only one when asked for, and the health one (H-262 … H-264).
import { readFile, stat } from 'node:fs/promises';
import type { ServerOptions } from 'node:https';
import { Mailbox, Shutdown, TaskGroup } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { ConfigError, messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Metrics } from '../std/metrics.ts';
import { KubeletApi, type KubeletApiOptions, type KubeletBuild } from './kubelet/app.ts';
import { anonymousUser, KubeletAuth, type KubeletAuthOptions } from './kubelet/auth.ts';
import { RequestMeter } from './kubelet/request-meter.ts';
import { givenCertificate, selfSignedCertificate } from './kubelet/serving-certificate.ts';
import { kubeletStream } from './kubelet/streams.ts';
import { Listener, type ListenerHandlers } from './listener.ts';
import type { User } from './user.ts';
import type {
  ConfigView,
  HealthCheck,
  ManifestsView,
  MetricsView,
  PodsView,
  ReviewView,
  RuntimeView,
  ServingCertificate,
  ServingCertificateView,
  StatsView,
  TroublesView,
} from './views.ts';

export interface KubeletServerOptions {
  readonly nodeName: string;
  /** `address:port` of the main listener; none when absent (`enableServer: false`). */
  readonly main?:
    | {
        readonly address: string;
        readonly port: number;
        readonly certificate:
          | { readonly kind: 'files'; readonly certFile: string; readonly keyFile: string }
          | { readonly kind: 'selfSigned'; readonly folder: string; readonly host: string };
        /** Read again when it changes. */
        readonly clientCaFile?: string | undefined;
        readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
        /** OpenSSL names; the defaults when empty. */
        readonly cipherSuites: readonly string[];
        readonly auth: KubeletAuthOptions;
      }
    | undefined;
  readonly readOnly?: { readonly address: string; readonly port: number } | undefined;
  readonly healthz?: { readonly address: string; readonly port: number } | undefined;
  readonly enableDebuggingHandlers: boolean;
  readonly enableSystemLogHandler: boolean;
  readonly enableDebugFlagsHandler: boolean;
  /** `/var/log`. */
  readonly systemLogDir: string;
  readonly checkpointsDir: string;
}

export interface KubeletServerDeps {
  readonly pods: PodsView;
  readonly runtime: RuntimeView;
  readonly stats: StatsView;
  readonly config: ConfigView;
  readonly manifests: ManifestsView;
  readonly troubles: TroublesView;
  readonly metricsView: MetricsView;
  /** `ping`, `log`, `syncloop`. The health listener evaluates `ping` only. */
  readonly health: readonly HealthCheck[];
  readonly reviews?: ReviewView | undefined;
  /** The pair signed by the cluster (`serverTLSBootstrap`); comes before every other one as soon as there is one. */
  readonly serving?: ServingCertificateView | undefined;
  /** The static UID of a UID that a cluster knows (S-328). */
  readonly toStaticUid?: ((uid: string) => string) | undefined;
  /** Text of /statusz beside what the server knows itself. */
  readonly build: KubeletBuild;
  /** How much the log says from now on (`PUT /debug/flags/v`). */
  readonly setVerbosity: (verbosity: number) => void;
  /** A listener accepts at this port. */
  readonly onOpen?: ((listener: KubeletListener, port: number) => void) | undefined;
  /** Why a listener does not open; called at every try. */
  readonly onFault?: ((listener: KubeletListener, message: string) => void) | undefined;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Logger;
}

const caCheckMs = 60_000;
const retryMs = 5_000;

export type KubeletListener = KubeletApiOptions['listener'];

export class KubeletServer {
  readonly #options: KubeletServerOptions;
  readonly #deps: KubeletServerDeps;
  readonly #tasks = new TaskGroup();
  readonly #listeners = new Map<KubeletListener, Listener>();

  constructor(options: KubeletServerOptions, deps: KubeletServerDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Ports as they are bound; 0 for a listener that is off or not open yet. */
  get ports(): Readonly<Record<KubeletListener, number>> {
    const portOf = (name: KubeletListener): number => this.#listeners.get(name)?.port ?? 0;
    return { main: portOf('main'), readOnly: portOf('readOnly'), healthz: portOf('healthz') };
  }

  /** Rejects with the first fault of ours; never resolves. */
  get failed(): Promise<never> {
    return this.#tasks.failed;
  }

  /**
   * Resolves when every listener was tried. One that cannot open keeps none of the others closed: it is reported through
   * `onFault` and tried again every five seconds.
   */
  async start(): Promise<void> {
    const { main, readOnly, healthz } = this.#options;
    const plain = (name: KubeletListener, at: { readonly address: string; readonly port: number } | undefined): Promise<void> =>
      this.#keep(
        name,
        at &&
          (() =>
            this.#open(
              { at },
              this.#handlers(name, () => anonymousUser, undefined),
            )),
      );
    await Promise.all([this.#keep('main', main && (() => this.#openMain(main))), plain('readOnly', readOnly), plain('healthz', healthz)]);
  }

  /** Ends every connection. Idempotent. */
  async stop(): Promise<void> {
    const tasks = this.#tasks.close(new Shutdown());
    await Promise.all([...this.#listeners.values()].map((listener) => listener.close()));
    await tasks;
  }

  async #keep(name: KubeletListener, open: (() => Promise<Listener>) | undefined): Promise<void> {
    if (open === undefined || (await this.#try(name, open))) return;
    this.#tasks.spawn(`${name} listener`, async ({ signal }) => {
      do await this.#deps.clock.sleep(retryMs, signal);
      while (!(await this.#try(name, open)));
    });
  }

  async #try(name: KubeletListener, open: () => Promise<Listener>): Promise<boolean> {
    try {
      const listener = await open();
      this.#listeners.set(name, listener);
      // Stopped while it opened.
      if (this.#tasks.signal.aborted) await listener.close();
      else this.#deps.onOpen?.(name, listener.port);
      return true;
    } catch (error) {
      if (!(error instanceof ConfigError) && systemCode(error) === undefined) throw error;
      this.#deps.onFault?.(name, messageOf(error));
      return false;
    }
  }

  async #openMain(main: NonNullable<KubeletServerOptions['main']>): Promise<Listener> {
    const auth = new KubeletAuth(main.auth, this.#deps);
    const { certificate: source } = main;
    const certificate =
      source.kind === 'files' ? await givenCertificate(source.certFile, source.keyFile) : await selfSignedCertificate(source, this.#deps);
    // One that is signed may come at any time, and stands until the next.
    const inUse = (): ServingCertificate => this.#deps.serving?.current() ?? certificate;
    const tls = await tlsOptions(main, inUse());
    const authenticate: ListenerHandlers['authenticate'] = (request) => auth.authenticate(request, this.#tasks.signal);
    const listener = await this.#open({ at: { address: main.address, port: main.port }, tls }, this.#handlers('main', authenticate, auth));
    this.#followServingCertificate(main, listener);
    const { clientCaFile } = main;
    if (clientCaFile === undefined) return listener;
    this.#tasks.spawn('client CA', async ({ signal }) => {
      for (let known = await modifiedAt(clientCaFile); ; ) {
        await this.#deps.clock.sleep(caCheckMs, signal);
        const current = await modifiedAt(clientCaFile);
        if (current === undefined || current === known) continue;
        try {
          listener.setSecureContext(await tlsOptions(main, inUse()));
          known = current;
          this.#deps.log.info('client CA was read again', { path: clientCaFile });
        } catch (error) {
          this.#deps.log.warn('the new client CA cannot be used; the old one stays', { path: clientCaFile, error: messageOf(error) });
        }
      }
    });
    return listener;
  }

  #followServingCertificate(main: NonNullable<KubeletServerOptions['main']>, listener: Listener): void {
    const { serving, log } = this.#deps;
    if (serving === undefined) return;
    const taken = new Mailbox<ServingCertificate>();
    this.#tasks.spawn('serving certificate', async ({ signal }) => {
      const unsubscribe = serving.subscribe((certificate) => taken.put(certificate));
      try {
        for (;;) {
          const certificate = await taken.take(signal);
          try {
            listener.setSecureContext(await tlsOptions(main, certificate));
            log.info('the serving certificate is a new one');
          } catch (error) {
            log.warn('the new serving certificate cannot be used; the old one stays', { error: messageOf(error) });
          }
        }
      } finally {
        unsubscribe();
      }
    });
  }

  async #open(options: ConstructorParameters<typeof Listener>[0], handlers: ListenerHandlers): Promise<Listener> {
    const listener = new Listener(options, { handlers, log: this.#deps.log });
    await listener.start();
    return listener;
  }

  #handlers(
    listener: KubeletApiOptions['listener'],
    authenticate: ListenerHandlers['authenticate'],
    auth: KubeletAuth | undefined,
  ): ListenerHandlers {
    const { signal } = this.#tasks;
    const health = listener === 'healthz' ? this.#deps.health.filter((check) => check.name === 'ping') : this.#deps.health;
    const { app } = new KubeletApi({ ...this.#options, listener }, { ...this.#deps, health, auth, signal });
    const { enableDebuggingHandlers } = this.#options;
    // As with a kubelet, the health port is not counted.
    const meter = listener === 'healthz' ? undefined : new RequestMeter(listener === 'main' ? 'readwrite' : 'readonly', this.#deps);
    const measured = async <T>(method: string, path: string, answer: () => T | Promise<T>): Promise<T> =>
      meter === undefined ? await answer() : await meter.measure(method, path, answer);
    return {
      authenticate,
      refuse: ({ method = '', url }) => {
        meter?.refused(method, pathOf(url));
        return { contentType: 'text/plain; charset=utf-8', body: 'Unauthorized' };
      },
      fetch: (request: Request, user: User) => measured(request.method, new URL(request.url).pathname, () => app.fetch(request, { user })),
      upgrade: (request, socket, head, user) =>
        measured(request.method ?? '', pathOf(request.url), () =>
          kubeletStream(request, socket, head, user, { ...this.#deps, auth, enableDebuggingHandlers, signal }),
        ),
    };
  }
}

const pathOf = (url = '/'): string => url.split('?')[0] ?? '';

async function modifiedAt(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).mtimeMs;
  } catch (error) {
    if (systemCode(error) !== undefined) return undefined;
    throw error;
  }
}

async function tlsOptions(main: NonNullable<KubeletServerOptions['main']>, certificate: ServingCertificate): Promise<ServerOptions> {
  let ca: string | undefined;
  try {
    ca = main.clientCaFile === undefined ? undefined : await readFile(main.clientCaFile, 'utf8');
  } catch (error) {
    throw new ConfigError('client-ca', `cannot read the client CA ${main.clientCaFile}: ${systemCode(error) ?? messageOf(error)}`, {
      cause: error,
    });
  }
  // Node takes a file without a certificate for an authority that nobody has, and says nothing.
  if (ca !== undefined && !ca.includes('-----BEGIN CERTIFICATE-----'))
    throw new ConfigError('client-ca', `the client CA ${main.clientCaFile} has no certificate: it must be a PEM file`);
  return {
    cert: certificate.certificate,
    key: certificate.key,
    // Without a CA no client certificate is even asked for: the system's own authorities must never count here.
    ca: ca ?? [],
    requestCert: ca !== undefined,
    rejectUnauthorized: false,
    minVersion: main.minVersion,
    ALPNProtocols: ['http/1.1'],
    ...(main.cipherSuites.length === 0 ? {} : { ciphers: main.cipherSuites.join(':') }),
  };
}
