import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';

import { ConfigError } from '../std/errors.ts';
import type { AgentConfig } from './agent-config.ts';
import { configz, describeConfig, formatOrigin, toDocuments } from './describe.ts';
import { diffConfig } from './diff.ts';
import { flagDefinitions, normalizeFlags } from './flags.ts';
import { type ConfigHost, type ConfigInput, type LoadedConfig, loadConfig } from './load.ts';
import { agentConfigurationSchema, configurationReference } from './schema.ts';
import { settingKeys, settings } from './settings.ts';

const kubelet = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
const agent = 'apiVersion: pinpod.io/v1alpha1\nkind: AgentConfiguration\n';

function hostWith(files: Readonly<Record<string, string>>, hostName = 'Node1 '): ConfigHost {
  return {
    hostName,
    workingDirectory: '/work',
    readFile(path) {
      const text = files[path];
      if (text === undefined) throw Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), { code: 'ENOENT' });
      return text;
    },
    exists: (path) => files[path] !== undefined,
    listFolder(path) {
      const below = Object.keys(files).filter((file) => file.startsWith(`${path}/`));
      if (below.length === 0) throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' });
      return [...new Set(below.map((file) => file.slice(path.length + 1).replace(/\/.*/, '/')))];
    },
  };
}

interface Given {
  readonly file?: string;
  readonly dropIns?: Readonly<Record<string, string>>;
  readonly flags?: ConfigInput['flags'];
  readonly env?: ConfigInput['env'];
  readonly hostName?: string;
}

function load({ file, dropIns, flags = {}, env = {}, hostName }: Given): LoadedConfig {
  const files: Record<string, string> = {};
  if (file !== undefined) files['/etc/k/config.yaml'] = file;
  for (const [name, text] of Object.entries(dropIns ?? {})) files[`/etc/k/d/${name}`] = text;
  const own: Record<string, readonly string[]> = { ...flags };
  if (file !== undefined) own['config'] = ['/etc/k/config.yaml'];
  if (dropIns !== undefined) own['config-dir'] = ['/etc/k/d'];
  return loadConfig({ flags: own, env, host: hostWith(files, hostName) });
}

function problemsOf(given: Given): readonly string[] {
  try {
    load(given);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.message.split('\n');
  }
  return [];
}

describe('loadConfig', () => {
  it('without anything: the defaults of DESIGN.md', () => {
    const { config, warnings, files } = load({});
    assert.deepEqual(
      [config.rootDir, config.runDir, config.staticPodPath, config.podLogsDir, config.localKubeconfigPath, config.certDir],
      ['/var/lib/pinpod', '/run/pinpod', '/etc/pinpod/manifests', '/var/log/pods', '/etc/pinpod/kubeconfig.yaml', '/var/lib/pinpod/pki'],
    );
    assert.deepEqual([config.port, config.readOnlyPort, config.healthzPort], [10250, 0, 10248]);
    assert.deepEqual([warnings, files], [[], []]);
    assert.ok(Object.isFrozen(config));
  });

  it('S-078, C-024: the node name is the host name, trimmed, in lower case; empty is an error', () => {
    assert.equal(load({}).config.nodeName, 'node1');
    assert.equal(load({ flags: { 'hostname-override': [' Other'] } }).config.nodeName, 'other');
    assert.match(problemsOf({ hostName: ' ' })[0] ?? '', /empty hostname is invalid/);
  });

  describe('H-340: flag > environment > drop-in > file > default', () => {
    const rows: readonly (readonly [Given, number, string])[] = [
      [{}, 110, 'default'],
      [{ file: `${kubelet}maxPods: 1\n` }, 1, '/etc/k/config.yaml:3:10'],
      [{ file: `${kubelet}maxPods: 1\n`, dropIns: { '1.conf': `${kubelet}maxPods: 2\n` } }, 2, '/etc/k/d/1.conf:3:10'],
      [
        { file: `${kubelet}maxPods: 1\n`, dropIns: { '1.conf': `${kubelet}maxPods: 2\n` }, flags: { 'max-pods': ['3'] } },
        3,
        'flag --max-pods',
      ],
    ];
    for (const [given, expected, origin] of rows)
      it(origin, () => {
        const { config, origins } = load(given);
        assert.equal(config.maxPods, expected);
        assert.equal(formatOrigin(origins.maxPods), origin);
      });

    it('/etc/pinpod/config.yaml, unless another file or an agent of its own is meant', () => {
      const usual = '/etc/pinpod/config.yaml';
      const host = hostWith({ [usual]: `${kubelet}maxPods: 7\n`, '/etc/k/config.yaml': `${kubelet}maxPods: 8\n` });
      const rows: [Pick<ConfigInput, 'flags' | 'env'>, number, readonly string[]][] = [
        [{ flags: {}, env: {} }, 7, [usual]],
        [{ flags: { 'max-pods': ['9'] }, env: {} }, 9, [usual]],
        [{ flags: { config: ['/etc/k/config.yaml'] }, env: {} }, 8, ['/etc/k/config.yaml']],
        [{ flags: { config: [''] }, env: {} }, 110, []],
        [{ flags: { 'run-dir': ['/run/a'] }, env: {} }, 110, []],
        [{ flags: {}, env: { PINPOD_RUN_DIR: '/run/a' } }, 110, []],
      ];
      for (const [given, maxPods, files] of rows) {
        const loaded = loadConfig({ ...given, host });
        assert.deepEqual([loaded.config.maxPods, loaded.files], [maxPods, files]);
      }
      assert.deepEqual(loadConfig({ flags: {}, env: {}, host: hostWith({}) }).files, []);
    });

    it('PINPOD_RUN_DIR', () => {
      const env = { PINPOD_RUN_DIR: '/run/a' };
      assert.equal(load({ env, file: `${agent}runDir: /run/b\n` }).config.runDir, '/run/a');
      assert.equal(load({ env, flags: { 'run-dir': ['/run/c'] } }).config.runDir, '/run/c');
      assert.equal(formatOrigin(load({ env }).origins.runDir), 'environment PINPOD_RUN_DIR');
    });
  });

  describe('drop-ins', () => {
    it('C-482: later wins, maps are merged, other names are ignored, flags win over all', () => {
      const given: Given = {
        file: `${kubelet}evictionHard: {memory.available: 200Mi}\n`,
        dropIns: {
          '10-a.conf': `${kubelet}syncFrequency: 5s\n`,
          '20-b.conf': `${kubelet}syncFrequency: 7s\nevictionHard: {nodefs.available: "5%"}\n`,
          'x.yaml': `${kubelet}syncFrequency: 99s\n`,
        },
      };
      const { config, files } = load(given);
      assert.equal(config.syncFrequencyMs, 7000);
      assert.deepEqual(config.evictionHard, {
        'memory.available': { kind: 'bytes', value: 200 * 2 ** 20 },
        'nodefs.available': { kind: 'percent', value: 5 },
      });
      assert.deepEqual(files, ['/etc/k/config.yaml', '/etc/k/d/10-a.conf', '/etc/k/d/20-b.conf']);
      assert.equal(load({ ...given, flags: { 'sync-frequency': ['9s'] } }).config.syncFrequencyMs, 9000);
    });

    it('C-482, H-333: a drop-in of another kind is fatal, with its place', () => {
      assert.deepEqual(problemsOf({ dropIns: { '99.conf': 'apiVersion: v1\nkind: Pod\n' } }), [
        '/etc/k/d/99.conf:2:7: no configuration is known as v1, kind Pod: expected kubelet.config.k8s.io/v1beta1, kind KubeletConfiguration or pinpod.io/v1alpha1, kind AgentConfiguration',
      ]);
    });

    it('C-483, H-331: a list replaces a list, null brings the default back', () => {
      const file = `${kubelet}clusterDNS: [10.0.0.1, 10.0.0.2]\nmaxPods: 5\nauthentication: {anonymous: {enabled: true}}\n`;
      const { config, origins } = load({
        file,
        dropIns: { 'a.conf': `${kubelet}clusterDNS: [10.0.0.3]\nmaxPods: null\nauthentication: {anonymous: null}\n` },
      });
      assert.deepEqual(config.clusterDns, ['10.0.0.3']);
      assert.equal(config.maxPods, 110);
      assert.equal(config.anonymousAuth, false);
      assert.equal(origins.maxPods.kind, 'default');
    });

    it('H-330: recursively, in the order of paths; H-334: without a file as well', () => {
      const dropIns = {
        '10-a.conf': `${kubelet}maxPods: 1\n`,
        'sub/05-z.conf': `${kubelet}maxPods: 2\n`,
        '.hidden.conf': `${kubelet}podsPerCore: 3\n`,
      };
      const { config, files } = load({ dropIns });
      assert.deepEqual([config.maxPods, config.podsPerCore], [2, 3]);
      assert.deepEqual(
        files.map((f) => f.slice('/etc/k/d/'.length)),
        ['.hidden.conf', '10-a.conf', 'sub/05-z.conf'],
      );
    });

    it('H-332 (improved): explicit empty lists of the main file survive', () => {
      assert.deepEqual(
        load({ file: `${kubelet}enforceNodeAllocatable: []\n`, dropIns: { 'a.conf': `${kubelet}maxPods: 1\n` } }).config
          .enforceNodeAllocatable,
        [],
      );
    });
  });

  it('a second document has pinpod’s own settings', () => {
    const { config } = load({
      file: `${kubelet}maxPods: 3\n---\n${agent}sourceFaultPolicy: follow\nruntimeHandlers: {gvisor: runsc}\nprivateContainerd: {subnet: 10.9.0.0/24}\n`,
    });
    assert.deepEqual(
      [config.maxPods, config.sourceFaultPolicy, config.runtimeHandlers, config.privateContainerdSubnet],
      [3, 'follow', { gvisor: 'runsc' }, '10.9.0.0/24'],
    );
  });

  it('JSON is understood as well', () => {
    const file = JSON.stringify({ apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration', maxPods: 4 });
    assert.equal(load({ file }).config.maxPods, 4);
  });

  it('C-485: the file that kubeadm writes, zero durations and all, has no effect but its own', () => {
    const file = `${kubelet}authentication:
  anonymous: {enabled: false}
  webhook: {cacheTTL: 0s, enabled: true}
  x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}
authorization:
  mode: Webhook
  webhook: {cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s}
cgroupDriver: systemd
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
httpCheckFrequency: 0s
imageMaximumGCAge: 0s
imageMinimumGCAge: 0s
logging:
  flushFrequency: 0
  options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}
  verbosity: 0
memorySwap: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
rotateCertificates: true
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
staticPodPath: /etc/kubernetes/manifests
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
`;
    const { config, warnings } = load({ file, flags: { kubeconfig: ['/etc/kubernetes/kubelet.conf'] } });
    assert.deepEqual(
      [
        config.fileCheckFrequencyMs,
        config.syncFrequencyMs,
        config.runtimeRequestTimeoutMs,
        config.imageMinimumGcAgeMs,
        config.crashLoopMaxBackOffMs,
      ],
      [20_000, 60_000, 120_000, 120_000, 300_000],
    );
    assert.deepEqual(
      [config.authorizationMode, config.staticPodPath, config.containerRuntimeEndpoint],
      ['Webhook', '/etc/kubernetes/manifests', undefined],
    );
    assert.deepEqual(warnings, ['accepted, but without effect here: logging.options']);
  });

  it('C-488, H-320: a relative path is relative to the file, in a drop-in too; that of a flag to the working directory; trailing slashes do not count (S-002, S-003)', () => {
    assert.equal(load({ file: `${kubelet}staticPodPath: manifests/\n` }).config.staticPodPath, '/etc/k/manifests');
    assert.equal(
      load({ dropIns: { 'a.conf': `${kubelet}authentication: {x509: {clientCAFile: ca.pem}}\n` } }).config.clientCaFile,
      '/etc/k/d/ca.pem',
    );
    assert.equal(load({ flags: { 'pod-manifest-path': ['examples///'] } }).config.staticPodPath, '/work/examples');
  });

  describe('S-001: which sources there are', () => {
    const rows: readonly (readonly [Given, string | undefined, string | undefined])[] = [
      [{}, '/etc/pinpod/manifests', undefined],
      [{ flags: { 'pod-manifest-path': [''] } }, undefined, undefined],
      [{ flags: { 'manifest-url': ['http://x/'] } }, undefined, 'http://x/'],
      [{ flags: { 'manifest-url': ['http://x/'], 'pod-manifest-path': ['/m'] } }, '/m', 'http://x/'],
    ];
    for (const [given, path, url] of rows)
      it(`${path} ${url}`, () => {
        const { config } = load(given);
        assert.deepEqual([config.staticPodPath, config.staticPodUrl], [path, url]);
      });
  });

  it('H-327: any key of evictionHard drops the other defaults, unless they are to be merged', () => {
    const file = `${kubelet}evictionHard: {memory.available: 1Gi}\n`;
    assert.deepEqual(Object.keys(load({ file }).config.evictionHard), ['memory.available']);
    const merged = load({ file: `${file}mergeDefaultEvictionSettings: true\n` }).config.evictionHard;
    assert.deepEqual(merged['memory.available'], { kind: 'bytes', value: 2 ** 30 });
    assert.deepEqual(merged['nodefs.available'], { kind: 'percent', value: 10 });
  });

  it('H-307: serverTLSBootstrap where nobody signs is said, and does not end the start', () => {
    const { config, warnings } = load({ file: `${kubelet}serverTLSBootstrap: true\n` });
    assert.equal(config.serverTlsBootstrap, true);
    assert.match(warnings.join(), /^serverTLSBootstrap: no client provided, .* a self-signed one is used$/);
  });

  it('C-484: feature gates of a flag are merged over the file’s; those without effect are named', () => {
    const { config, warnings } = load({
      file: `${kubelet}featureGates: {A: true, B: true}\n`,
      flags: { 'feature-gates': ['B=false,C=true', 'D=true'] },
    });
    assert.deepEqual(config.featureGates, { A: true, B: false, C: true, D: true });
    assert.deepEqual(warnings, ['feature gates without effect here: A, B, C, D']);
  });

  it('H-302: a port that makes everybody root is warned of, unless only this machine reaches it', () => {
    const open = 'authentication: {anonymous: {enabled: true}}\nauthorization: {mode: AlwaysAllow}\n';
    const warned = (more: string): boolean =>
      load({ file: `${kubelet}port: 10250\n${open}${more}` }).warnings.some((text) => text.includes('is root on this machine'));
    assert.deepEqual(['', 'address: 127.0.0.1\n', 'address: "::1"\n', 'enableServer: false\n', 'address: 192.0.2.1\n'].map(warned), [
      true,
      false,
      false,
      false,
      true,
    ]);
    assert.deepEqual(load({ file: `${kubelet}port: 10250\n` }).warnings, []);
  });

  it('H-328: one warning names the fields without effect, set to something else than their default', () => {
    const file = `${kubelet}hairpinMode: none\nvolumeStatsAggPeriod: 1m\npodCIDR: 10.0.0.0/8\n`;
    assert.deepEqual(load({ file, flags: { 'cloud-provider': ['external'] } }).warnings, [
      'accepted, but without effect here: hairpinMode, podCIDR',
      'accepted, but without effect here: --cloud-provider',
    ]);
  });

  it('H-328: settings that are checked though nothing here looks at them are named, too, unless they have their default', () => {
    const file = `${kubelet}maxOpenFiles: 5\nmemorySwap: {swapBehavior: NoSwap}\nenableSystemLogQuery: true\n`;
    assert.deepEqual(load({ file, flags: { 'lock-file': ['/l'] } }).warnings, [
      'accepted, but without effect here: enableSystemLogQuery, maxOpenFiles, --lock-file',
    ]);
  });

  describe('flags of every kind', () => {
    const rows: readonly (readonly [string, readonly string[], keyof AgentConfig, unknown])[] = [
      ['manifest-url-header', ['a:hello,b:again', 'a:more:colons'], 'staticPodUrlHeaders', { a: ['hello', 'more:colons'], b: ['again'] }],
      ['cluster-dns', ['10.0.0.1,10.0.0.2', '10.0.0.3'], 'clusterDns', ['10.0.0.1', '10.0.0.2', '10.0.0.3']],
      [
        'register-with-taints',
        ['k=v:NoSchedule,l:NoExecute'],
        'registerWithTaints',
        [
          { key: 'k', value: 'v', effect: 'NoSchedule' },
          { key: 'l', value: '', effect: 'NoExecute' },
        ],
      ],
      [
        'eviction-hard',
        ['memory.available<100Mi,nodefs.available<10%'],
        'evictionHard',
        { 'memory.available': { kind: 'bytes', value: 104857600 }, 'nodefs.available': { kind: 'percent', value: 10 } },
      ],
      ['eviction-minimum-reclaim', ['memory.available=0Mi'], 'evictionMinimumReclaim', { 'memory.available': { kind: 'bytes', value: 0 } }],
      ['fail-swap-on', [''], 'failSwapOn', true],
      ['fail-swap-on', ['false'], 'failSwapOn', false],
      ['file-check-frequency', ['1m30s'], 'fileCheckFrequencyMs', 90_000],
      ['cpu-cfs-quota-period', ['100ms'], 'cpuCfsQuotaPeriodMs', 100],
      ['container-log-max-size', ['1Ki'], 'containerLogMaxSizeBytes', 1024],
      ['system-reserved', ['cpu=100m,memory=1Gi'], 'systemReserved', { cpu: '100m', memory: '1Gi' }],
      ['node-labels', ['a=b,c='], 'nodeLabels', { a: 'b', c: '' }],
      ['container-runtime-endpoint', ['/run/x.sock'], 'containerRuntimeEndpoint', 'unix:///run/x.sock'],
      ['v', ['4'], 'logVerbosity', 4],
      ['demo', [''], 'demo', true],
    ];
    for (const [flag, texts, key, expected] of rows)
      it(`--${flag} ${texts.join(' ')}`, () => assert.deepEqual(load({ flags: { [flag]: texts } }).config[key], expected));

    it('H-340: a list given by flag replaces the file’s', () => {
      assert.deepEqual(load({ file: `${kubelet}clusterDNS: [10.0.0.1]\n`, flags: { 'cluster-dns': ['10.0.0.2'] } }).config.clusterDns, [
        '10.0.0.2',
      ]);
    });

    it('H-342: underscores count as dashes, in names only', () => {
      assert.deepEqual(normalizeFlags(['run', '--cluster_dns=a_b', '-v', '--', '--x_y']), [
        'run',
        '--cluster-dns=a_b',
        '-v',
        '--',
        '--x_y',
      ]);
    });
  });

  describe('what is wrong is told, with its place', () => {
    const rows: readonly (readonly [string, Given, readonly (string | RegExp)[]])[] = [
      [
        'C-480: an unknown field',
        { file: `${kubelet}maxPod: 3\n` },
        ['/etc/k/config.yaml:3:1: unknown field "maxPod", did you mean "maxPods"?'],
      ],
      [
        'a nested unknown field',
        { file: `${kubelet}authentication:\n  anonymus: {enabled: true}\n` },
        ['/etc/k/config.yaml:4:3: unknown field "authentication.anonymus", did you mean "authentication.anonymous"?'],
      ],
      ['an unknown field of pinpod’s', { file: `${agent}sourceFaultPolcy: keep\n` }, [/did you mean "sourceFaultPolicy"\?$/]],
      ['a field nothing is like', { file: `${kubelet}xyzzy: 1\n` }, ['/etc/k/config.yaml:3:1: unknown field "xyzzy"']],
      ['an unknown field without a value', { file: `${kubelet}xyzzy:\n` }, ['/etc/k/config.yaml:3:1: unknown field "xyzzy"']],
      [
        'H-321: a duplicate key',
        { file: `${kubelet}port: 1\nport: 2\n` },
        ['/etc/k/config.yaml:4:1: duplicate field "port", first in line 3'],
      ],
      [
        'C-480: a wrong type',
        { file: `${kubelet}port: "80"\n` },
        ['/etc/k/config.yaml:3:7: port: Invalid value: "80": must be a whole number'],
      ],
      [
        'H-323: a duration without a unit',
        { file: `${kubelet}syncFrequency: "30"\n` },
        [/syncFrequency: Invalid value: "30": must have a unit, such as 30s or 1m30s$/],
      ],
      [
        'S-007: a negative frequency',
        { file: `${kubelet}fileCheckFrequency: -1s\n` },
        [/fileCheckFrequency: Invalid value: "?-1s"?: must/],
      ],
      [
        'H-323: a duration that is a number',
        { file: `${kubelet}syncFrequency: 30\n` },
        [/syncFrequency: Invalid value: 30: must be a duration/],
      ],
      ['H-007b: YAML 1.1 booleans', { file: `${kubelet}clusterDomain: no\n` }, [/clusterDomain: Invalid value: false: must be a string$/]],
      ['a map where a list belongs', { file: `${kubelet}clusterDNS: {a: b}\n` }, [/clusterDNS: Invalid value: a map: must be a list$/]],
      ['a scalar where a map belongs', { file: `${kubelet}authentication: yes\n` }, [/authentication: Invalid value: must be a map$/]],
      [
        'an item of a list',
        { file: `${kubelet}enforceNodeAllocatable: [pods, pods]\n` },
        [/enforceNodeAllocatable: item 1: Duplicate value: "pods"$/],
      ],
      [
        'an entry of a map',
        { file: `${kubelet}evictionHard: {memory.free: 1Gi}\n` },
        [/evictionHard\[memory\.free\]: Unsupported value: unknown eviction signal/],
      ],
      ['C-480: an empty file', { file: '# nothing\n' }, ['the configuration file /etc/k/config.yaml is empty']],
      ['C-480: a missing file', { flags: { config: ['nowhere'] } }, [/^cannot read the configuration file \/work\/nowhere: ENOENT/]],
      [
        'C-480: a wrong kind',
        { file: 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: Foo\n' },
        [/config\.yaml:2:7: no configuration is known as/],
      ],
      ['H-322: no apiVersion', { file: 'kind: KubeletConfiguration\n' }, ['/etc/k/config.yaml:1:1: apiVersion: Required value']],
      ['bad YAML', { file: `${kubelet}a: [\n` }, [/^\/etc\/k\/config\.yaml:\d+:\d+: /]],
      ['the same document twice', { file: `${kubelet}---\n${kubelet}` }, [/a second KubeletConfiguration in one file$/]],
      ['H-344: an unknown flag', { flags: { 'cluster-dsn': ['x'] } }, ['unknown flag: --cluster-dsn, did you mean --cluster-dns?']],
      ['H-344: a bad value of a flag', { flags: { v: ['abc'] } }, ['--v: Invalid value: "abc": must be a whole number']],
      [
        'what cannot be granted',
        { file: `${kubelet}cpuManagerPolicy: static\nrunOnce: true\n` },
        [/cpuManagerPolicy: Unsupported value: "static": exclusive CPUs/, /runOnce: Unsupported value: true/],
      ],
      [
        'C-487: the webhook without an API server',
        { file: `${kubelet}authorization: {mode: Webhook}\n` },
        [/no client provided, cannot use webhook authorization/],
      ],
      [
        'S-360: malformed labels',
        { flags: { 'node-labels': ['-bad=x,good=bad value,a.node.kubernetes.io/fine='] } },
        [/^invalid node labels: '-bad' - Invalid key; 'good' - Invalid value: "bad value"$/m],
      ],
      [
        'H-345: labels',
        { flags: { 'node-labels': ['kubernetes.io/x=1,node.kubernetes.io/y=1,example.com/z=1,node-role.kubernetes.io/master='] } },
        [/^unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: \[kubernetes.io\/x node-role.kubernetes.io\/master\]/],
      ],
      [
        'a header’s value is not repeated',
        { flags: { 'manifest-url-header': ['secret'] } },
        ['--manifest-url-header: Invalid value: must be name:value'],
      ],
    ];
    for (const [what, given, expected] of rows)
      it(what, () => {
        const problems = problemsOf(given);
        assert.equal(problems.length, expected.length, problems.join('\n'));
        for (const [i, wanted] of expected.entries()) {
          if (typeof wanted === 'string') assert.equal(problems[i], wanted);
          else assert.match(problems[i] ?? '', wanted);
        }
      });

    it('C-481, H-324: all at once', () => {
      const file = `${kubelet}port: 99999\nmaxPods: -1\nimageGCLowThresholdPercent: 101\nsyncFreqency: 1s\n`;
      const problems = problemsOf({ file, flags: { nonsense: ['x'] } });
      assert.deepEqual(
        problems.map((p) => p.replace(/^\S+:\d+:\d+: /, '').split(':')[0]),
        ['port', 'maxPods', 'imageGCLowThresholdPercent', 'unknown field "syncFreqency", did you mean "syncFrequency"?', 'unknown flag'],
      );
    });
  });

  describe('H-324: what must hold between settings', () => {
    const rows: readonly (readonly [string, RegExp])[] = [
      ['imageGCLowThresholdPercent: 90\n', /must be less than imageGCHighThresholdPercent \(--image-gc-high-threshold\) 85$/],
      ['imageMaximumGCAge: 1m\n', /must be 0 or greater than imageMinimumGCAge$/],
      ['maxParallelImagePulls: 2\nserializeImagePulls: true\n', /maxParallelImagePulls cannot be greater than 1/],
      ['cpuCFSQuotaPeriod: 10ms\n', /requires the feature gate CustomCPUCFSQuotaPeriod$/],
      ['shutdownGracePeriod: 10s\nshutdownGracePeriodCriticalPods: 20s\n', /must not be greater than shutdownGracePeriod$/],
      ['shutdownGracePeriod: 10ms\n', /must be either 0 or at least 1s$/],
      [
        'shutdownGracePeriod: 10s\nshutdownGracePeriodByPodPriority: [{priority: 1, shutdownGracePeriodSeconds: 1}]\n',
        /excludes shutdownGracePeriod/,
      ],
      ['enforceNodeAllocatable: [none, pods]\n', /"none" must stand alone$/],
      ['cgroupsPerQOS: false\n', /requires cgroupsPerQOS/],
      ['userNamespaces: {idsPerPod: 65537}\n', /multiple of 65536$/],
      ['enableSystemLogQuery: true\nenableSystemLogHandler: false\n', /requires enableSystemLogHandler$/],
      ['evictionSoft: {memory.available: 1Gi}\n', /evictionSoft\[memory\.available\] requires evictionSoftGracePeriod/],
      ['crashLoopBackOff: {maxContainerRestartPeriod: 301s}\n', /at least 1s and at most 5m0s$/],
      ['containerLogMaxFiles: 1\n', /must be between 2 and/],
      ['containerLogMonitorInterval: 2s\n', /at least 3s/],
      ['tlsCertFile: /a\n', /must be given together$/],
      ['containerRuntimeEndpoint: tcp://x\n', /must be unix:\/\/ and an absolute path$/],
      ['staticPodURL: ftp://x\n', /must be an http:\/\/ or https:\/\/ URL$/],
      ['clusterDNS: [a.b]\n', /must be an IP address$/],
      [
        'tlsCipherSuites: [TLS_AES_128_GCM_SHA256, TLS_RSA_WITH_RC4_128_SHA]\n',
        /tlsCipherSuites: item 1: Unsupported value: "TLS_RSA_WITH_RC4_128_SHA": supported values: "TLS_AES_128_GCM_SHA256", /,
      ],
      ['memorySwap: {swapBehavior: Unlimited}\n', /Unsupported value: "Unlimited": supported values: "NoSwap", "LimitedSwap"$/],
      ['oomScoreAdj: -1001\n', /must be between -1000 and 1000, inclusive$/],
      ['memoryThrottlingFactor: 0\n', /must be greater than 0 and not greater than 1$/],
    ];
    for (const [text, expected] of rows)
      it(text.trim().replaceAll('\n', ' '), () => {
        const problems = problemsOf({ file: kubelet + text });
        assert.equal(problems.length, 1, problems.join('\n'));
        assert.match(problems[0] ?? '', expected);
      });
  });

  it('several agents side by side: what would meet is derived from the run directory, and the same at each start', () => {
    const of = (runDir: string): AgentConfig => load({ flags: { 'run-dir': [runDir], 'root-dir': [`${runDir}/root`] } }).config;
    const [a, b, again] = [of('/tmp/a'), of('/tmp/b'), of('/tmp/a')];
    for (const key of [
      'privateContainerdBridge',
      'privateContainerdSubnet',
      'cgroupRoot',
      'agentSocketPath',
      'localKubeconfigPath',
      'imagesDir',
      'certDir',
    ] as const) {
      assert.notEqual(a[key], b[key], key);
      assert.equal(a[key], again[key], key);
    }
    assert.deepEqual([a.port, a.healthzPort, a.kubeApiPort], [0, 0, 0]);
    assert.equal(a.podLogsDir, '/var/log/pods');
    assert.equal(a.localKubeconfigPath, '/tmp/a/kubeconfig.yaml');
  });

  it('any text in a file ends in a configuration or a ConfigError', () => {
    const line = fc.oneof(
      fc.constantFrom(kubelet, agent, '---\n', 'maxPods: 1\n', 'authentication: {\n', '- a\n', '<<: *a\n', 'x: &a\n', '? a\n', '\t\n'),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 6 }), (lines) => {
        try {
          load({ file: lines.join('') });
        } catch (error) {
          assert.ok(error instanceof ConfigError, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('describeConfig', () => {
  it('S-060: header values are masked', () => {
    const described = describeConfig(load({ flags: { 'manifest-url-header': ['Token:secret'] } }));
    assert.ok(!JSON.stringify(described).includes('secret'));
    assert.deepEqual(described.find(({ key }) => key === 'staticPodUrlHeaders')?.value, { Token: ['<masked>'] });
  });

  it('H-288: /configz shows what is in effect, as a kubelet 1.36.2 with nothing but its defaults does', () => {
    const { authentication, logging, ...shown } = configz(load({}));
    const expected: Readonly<Record<string, unknown>> = {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      ...{ cpuManagerPolicy: 'none', cpuManagerReconcilePeriod: '10s', memoryManagerPolicy: 'None', topologyManagerPolicy: 'none' },
      ...{ topologyManagerScope: 'container', volumeStatsAggPeriod: '1m0s', enableControllerAttachDetach: true, failSwapOn: false },
      ...{ configMapAndSecretChangeDetectionStrategy: 'Watch', iptablesDropBit: 15, seccompDefault: false, syncFrequency: '1m0s' },
    };
    assert.deepEqual({ ...shown, ...expected }, shown);
    assert.deepEqual(authentication, { webhook: { enabled: false, cacheTTL: '2m0s' }, anonymous: { enabled: false } });
    assert.deepEqual(logging, { format: 'text', verbosity: 0, flushFrequency: '5s' });
    for (const empty of [
      'clusterDNS',
      'clusterDomain',
      'evictionSoft',
      'featureGates',
      'providerID',
      'readOnlyPort',
      'tlsCipherSuites',
      'runOnce',
    ])
      assert.ok(!(empty in shown), empty);
    const asked = configz(load({ file: `${kubelet}evictionHard: {memory.available: "10%"}\nserializeImagePulls: false\n` }));
    assert.deepEqual([asked['evictionHard'], asked['serializeImagePulls']], [{ 'memory.available': '10%' }, false]);
  });

  it('the printed documents, loaded again, give the same configuration', () => {
    const loaded = load({
      file: `${kubelet}syncFrequency: 90s\nevictionHard: {memory.available: "10%"}\n---\n${agent}privateContainerd: {mode: never}\n`,
      flags: { 'max-pods': ['7'], 'feature-gates': ['A=true'] },
    });
    const file = toDocuments(loaded)
      .map((document) => JSON.stringify(document))
      .join('\n---\n');
    const again = load({ file });
    assert.deepEqual({ ...again.config }, { ...loaded.config });
  });
});

describe('diffConfig', () => {
  it('tells what a reload applies and what waits for a restart, without values', () => {
    const old = load({}).config;
    const { live, liveNames, restart, applied, message } = diffConfig(old, {
      ...old,
      maxPods: 5,
      staticPodUrlHeaders: { T: ['secret'] },
      rootDir: '/else',
      port: 1,
    });
    assert.deepEqual(live, ['maxPods', 'staticPodUrlHeaders']);
    assert.deepEqual(liveNames, ['maxPods', 'staticPodURLHeader']);
    assert.deepEqual(restart, ['rootDir', 'port']);
    assert.deepEqual([applied.maxPods, applied.rootDir], [5, '/var/lib/pinpod']);
    assert.equal(message, 'changed, but only applied by a restart of the agent: rootDir, port');
  });

  it('the same configuration differs in nothing', () => {
    const { live, restart, message } = diffConfig(load({}).config, load({}).config);
    assert.deepEqual([live, restart, message], [[], [], undefined]);
  });
});

describe('the table of settings', () => {
  it('names no flag and no field twice', () => {
    const names = flagDefinitions.map(({ name }) => name);
    assert.deepEqual(
      names.filter((name, i) => names.indexOf(name) !== i),
      [],
    );
    const fields = settingKeys
      .map((key) => settings[key].field)
      .flatMap((field) => (field === undefined ? [] : [`${field.document} ${field.path}`]));
    assert.deepEqual(
      fields.filter((field, i) => fields.indexOf(field) !== i),
      [],
    );
  });

  it('is what docs/ publishes (scripts/generate-config-docs.ts)', () => {
    const read = (name: string): string => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');
    assert.deepEqual(JSON.parse(read('agent-configuration.schema.json')), agentConfigurationSchema());
    assert.equal(read('configuration.md'), configurationReference());
  });
});
