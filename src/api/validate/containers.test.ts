import assert from 'node:assert/strict';
import { test } from 'node:test';
import { container, type Json, type JsonObject, problemsOf } from '../../../test/support/manifest.ts';

const label =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const subdomain =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const ids = 'must be between 0 and 2147483647, inclusive';
const port = 'must be between 1 and 65535, inclusive';
const memoryDivisors = '1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei';
const tcp = { tcpSocket: { port: 1 } };

/** Problems of the only container with this change, without their common beginning `spec.containers[0]`. */
const rows: readonly (readonly [rule: string, change: JsonObject, expected: readonly string[], spec?: JsonObject])[] = [
  ['S-169 no name', { name: '' }, ['.name: Required value']],
  ['S-169 bad name', { name: 'A' }, [`.name: Invalid value: "A": ${label}`]],
  ['S-169 dots in the name', { name: 'a.b' }, ['.name: Invalid value: "a.b": must not contain dots']],
  ['S-170 no image', { image: '' }, ['.image: Required value']],
  ['S-170 spaces around the image', { image: ' x' }, ['.image: Invalid value: " x": must not have leading or trailing whitespace']],
  ['S-170 the reference itself is not looked at', { image: 'UPPER/::' }, []],
  [
    'S-128 S-171 policies',
    { terminationMessagePolicy: 'x', imagePullPolicy: 'y' },
    [
      '.terminationMessagePolicy: Unsupported value: "x": supported values: "File", "FallbackToLogsOnError"',
      '.imagePullPolicy: Unsupported value: "y": supported values: "Always", "IfNotPresent", "Never"',
    ],
  ],
  [
    'S-138 S-172 ports',
    {
      ports: [
        {},
        { containerPort: 65536, hostPort: 70000, protocol: 'tcp' },
        { containerPort: 1, name: 'a' },
        { containerPort: 2, name: 'a' },
        { containerPort: 3, name: '-A--0000000000000-' },
        { containerPort: 4, name: '1' },
      ],
    },
    [
      '.ports[0].containerPort: Required value',
      `.ports[1].containerPort: Invalid value: 65536: ${port}`,
      `.ports[1].hostPort: Invalid value: 70000: ${port}`,
      '.ports[1].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"',
      '.ports[3].name: Duplicate value: "a"',
      '.ports[4].name: Invalid value: "-A--0000000000000-": must be no more than 15 characters',
      '.ports[4].name: Invalid value: "-A--0000000000000-": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)',
      '.ports[4].name: Invalid value: "-A--0000000000000-": must contain at least one letter (a-z)',
      '.ports[4].name: Invalid value: "-A--0000000000000-": must not contain consecutive hyphens',
      '.ports[4].name: Invalid value: "-A--0000000000000-": must not begin or end with a hyphen',
      '.ports[5].name: Invalid value: "1": must contain at least one letter (a-z)',
    ],
  ],
  [
    'S-174 host ports on the host network',
    { ports: [{ containerPort: 80, hostPort: 8080 }, { containerPort: 81 }] },
    ['.ports[0].hostPort: Invalid value: 8080: must match `containerPort` when `hostNetwork` is true'],
    { hostNetwork: true },
  ],
  [
    'S-140 S-175 environment variables',
    {
      env: [
        { value: 'x' },
        { name: 'a b.c-1', value: 'x' },
        { name: 'a=b', value: '' },
        { name: 'a', valueFrom: {} },
        { name: 'b', value: 'x', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        { name: 'c', valueFrom: { fieldRef: { fieldPath: 'metadata.name' }, resourceFieldRef: { resource: 'limits.cpu' } } },
      ],
    },
    [
      '.env[0].name: Required value',
      `.env[2].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='`,
      '.env[3].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`',
      '.env[4].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
      '.env[5].valueFrom: Invalid value: "": may not have more than one field specified at a time',
    ],
  ],
  [
    'S-176 field paths of variables',
    {
      env: [
        'status.podIP',
        "metadata.labels['a']",
        "metadata.annotations['A/b']",
        'metadata.labels',
        'spec.foo',
        "status.podIP['x']",
        '',
        "metadata.labels['a",
      ].map((fieldPath, i) => ({ name: `v${i}`, valueFrom: { fieldRef: { fieldPath } } })),
    },
    [
      '.env[3].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"',
      '.env[4].valueFrom.fieldRef.fieldPath: Invalid value: "spec.foo": error converting fieldPath: field label not supported: spec.foo',
      `.env[5].valueFrom.fieldRef.fieldPath: Invalid value: "status.podIP['x']": error converting fieldPath: field label does not support subscript: status.podIP['x']`,
      '.env[6].valueFrom.fieldRef.fieldPath: Required value',
      `.env[7].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.labels['a": error converting fieldPath: field label not supported: metadata.labels['a`,
    ],
  ],
  [
    'S-177 resources of variables',
    {
      env: [
        { resource: 'limits.cpu', divisor: '1m' },
        { resource: 'limits.cpu', divisor: '2' },
        { resource: 'requests.memory', divisor: '1Mi' },
        { resource: 'requests.memory', divisor: '3' },
        { resource: 'limits.ephemeral-storage', divisor: '2k' },
        { resource: 'limits.hugepages-2Mi', divisor: '2k' },
        { resource: 'limits.gpu' },
        {},
      ].map((resourceFieldRef, i) => ({ name: `v${i}`, valueFrom: { resourceFieldRef } })),
    },
    [
      '.env[1].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor\'s values 1m and 1 are supported with the cpu resource',
      `.env[3].valueFrom.resourceFieldRef.divisor: Invalid value: "requests.memory": only divisor's values ${memoryDivisors} are supported with the memory resource`,
      `.env[4].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.ephemeral-storage": only divisor's values ${memoryDivisors} are supported with the local ephemeral storage resource`,
      `.env[5].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.hugepages-2Mi": only divisor's values ${memoryDivisors} are supported with the hugepages resource`,
      '.env[6].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"',
      '.env[7].valueFrom.resourceFieldRef.resource: Required value',
    ],
  ],
  [
    'S-141 S-178 keys of config maps and secrets',
    {
      env: [
        { name: 'a', valueFrom: { configMapKeyRef: { name: 'c', key: 'a b' } } },
        { name: 'b', valueFrom: { secretKeyRef: { name: 's', key: '..' } } },
        { name: 'c', valueFrom: { secretKeyRef: { name: 's' } } },
      ],
      envFrom: [
        {},
        { configMapRef: {}, secretRef: { name: 's' } },
        { prefix: 'é', secretRef: { name: 's' } },
        { secretRef: { name: 'S' } },
      ],
    },
    [
      `.env[0].valueFrom.configMapKeyRef.key: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')`,
      `.env[1].valueFrom.secretKeyRef.key: Invalid value: "..": must not be '..'`,
      '.env[2].valueFrom.secretKeyRef.key: Required value',
      '.envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`',
      '.envFrom[1].configMapRef.name: Required value',
      '.envFrom: Invalid value: "": may not have more than one field specified at a time',
      `.envFrom[2].prefix: Invalid value: "é": a valid environment variable name must consist only of printable ASCII characters other than '='`,
      `.envFrom[3].secretRef.name: Invalid value: "S": ${subdomain}`,
    ],
  ],
  [
    'S-179 keys of files',
    {
      env: [
        { key: 'K', path: 'f', volumeName: 'e' },
        { key: 'K', path: '../f', volumeName: 'none' },
        { path: 'f', volumeName: 'h' },
      ].map((fileKeyRef, i) => ({ name: `v${i}`, valueFrom: { fileKeyRef } })),
    },
    [
      '.env[1].valueFrom.fileKeyRef.volumeName: Not found: "none"',
      `.env[1].valueFrom.fileKeyRef.path: Invalid value: "../f": must not contain '..'`,
      '.env[2].valueFrom.fileKeyRef.key: Required value',
      '.env[2].valueFrom.fileKeyRef.volumeName: Invalid value: "h": referenced volume must be of type emptyDir',
    ],
    {
      volumes: [
        { name: 'e', emptyDir: {} },
        { name: 'h', hostPath: { path: '/x' } },
      ],
    },
  ],
  [
    'S-180 mounts',
    {
      volumeMounts: [
        { name: 'x', mountPath: '/x' },
        { mountPath: '' },
        { name: 'v', mountPath: '/a', subPath: '/s', subPathExpr: '../e' },
        { name: 'v', mountPath: '/a', mountPropagation: 'Bidirectional', recursiveReadOnly: 'Enabled' },
        { name: 'v', mountPath: '/b', mountPropagation: 'x', recursiveReadOnly: 'y' },
        { name: 'i', mountPath: '/i', subPath: 's' }, // C-388: a part of an image
      ],
    },
    [
      '.volumeMounts[0].name: Not found: "x"',
      '.volumeMounts[1].name: Required value',
      '.volumeMounts[1].name: Not found: ""',
      '.volumeMounts[1].mountPath: Required value',
      '.volumeMounts.subPath: Invalid value: "/s": must be a relative path',
      '.volumeMounts[2].subPathExpr: Invalid value: "../e": subPathExpr and subPath are mutually exclusive',
      `.volumeMounts.subPathExpr: Invalid value: "../e": must not contain '..'`,
      '.volumeMounts[3].mountPath: Invalid value: "/a": must be unique',
      '.volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers',
      '.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true',
      '.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified',
      '.volumeMounts.mountPropagation: Unsupported value: "x": supported values: "Bidirectional", "HostToContainer", "None"',
      '.volumeMounts.recursiveReadOnly: Unsupported value: "y": supported values: "Disabled", "Enabled", "IfPossible"',
    ],
    { volumes: [{ name: 'v' }, { name: 'i', image: { reference: 'r' } }] },
  ],
  [
    'S-131 S-180 a privileged container may propagate both ways',
    { securityContext: { privileged: true }, volumeMounts: [{ name: 'v', mountPath: '/a', mountPropagation: 'Bidirectional' }] },
    [],
    { volumes: [{ name: 'v' }] },
  ],
  [
    'S-181 devices',
    {
      volumeMounts: [{ name: 'v', mountPath: '/m' }],
      volumeDevices: [
        { name: 'v', devicePath: '/dev/a' },
        { name: 'none', devicePath: '/dev/a' },
        { name: 'c', devicePath: '/dev/../b' },
        { name: 'c', devicePath: '/m' },
      ],
    },
    [
      '.volumeMounts[0].name: Invalid value: "v": must not already exist in volumeDevices',
      '.volumeMounts[0].mountPath: Invalid value: "/m": must not already exist as a path in volumeDevices',
      '.volumeDevices[0].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode',
      '.volumeDevices[0].name: Invalid value: "v": must not already exist in volumeMounts',
      '.volumeDevices[1].name: Not found: "none"',
      '.volumeDevices[1].devicePath: Invalid value: "/dev/a": must be unique',
      `.volumeDevices[2].devicePath: Invalid value: "/dev/../b": can not contain backsteps ('..')`,
      '.volumeDevices[3].name: Invalid value: "c": must be unique',
      '.volumeDevices[3].devicePath: Invalid value: "/m": must not already exist as a path in volumeMounts',
    ],
    { volumes: [{ name: 'v' }, { name: 'c', persistentVolumeClaim: { claimName: 'c' } }] },
  ],
  [
    'S-182 resource names',
    { resources: { limits: { foo: '1', pods: '1', 'example.com/gpu': '1', 'requests.example.com/gpu': '1' } } },
    [
      '.resources.limits[foo]: Invalid value: "foo": must be a standard resource type or fully qualified',
      '.resources.limits[foo]: Invalid value: "foo": must be a standard resource for containers',
      '.resources.limits[pods]: Invalid value: "pods": must be a standard resource for containers',
      `.resources.limits[requests.example.com/gpu]: Invalid value: "requests.example.com/gpu": doesn't follow extended resource name standard`,
      '.resources.requests[foo]: Invalid value: "foo": must be a standard resource type or fully qualified',
      '.resources.requests[foo]: Invalid value: "foo": must be a standard resource for containers',
      '.resources.requests[pods]: Invalid value: "pods": must be a standard resource for containers',
      `.resources.requests[requests.example.com/gpu]: Invalid value: "requests.example.com/gpu": doesn't follow extended resource name standard`,
    ],
  ],
  [
    'S-129 S-142 S-183 amounts',
    {
      resources: {
        requests: { cpu: '-1' },
        limits: { memory: '1Mi', 'example.com/gpu': '500m', 'hugepages-2Mi': '3Mi' },
      },
    },
    [
      '.resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer',
      '.resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi',
      '.resources.requests[example.com/gpu]: Invalid value: "500m": must be an integer',
      '.resources.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi',
      '.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
    ],
  ],
  [
    'S-184 requests and limits',
    {
      resources: {
        requests: { cpu: 2, 'example.com/a': 1, 'example.com/b': 1 },
        limits: { cpu: 1, 'example.com/a': 2 },
      },
    },
    [
      '.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
      '.resources.requests: Invalid value: "1": must be equal to example.com/a limit of 2',
      '.resources.limits: Required value: Limit must be set for non overcommitable resources',
    ],
  ],
  [
    'S-184 huge pages alone',
    { resources: { limits: { 'hugepages-2Mi': '2Mi' } } },
    ['.resources: Forbidden: HugePages require cpu or memory'],
  ],
  [
    'S-185 claims',
    { resources: { claims: [{ name: 'x' }, { name: 'x' }, {}] } },
    [
      '.resources.claims[0]: Not found: "x": must be one of the names in pod.spec.resourceClaims which is empty',
      '.resources.claims[1]: Duplicate value: "x"',
      '.resources.claims[1]: Not found: "x": must be one of the names in pod.spec.resourceClaims which is empty',
      '.resources.claims[2]: Required value',
    ],
  ],
  [
    'S-185 claims, when there are some',
    { resources: { claims: [{ name: 'x' }] } },
    ['.resources.claims[0]: Not found: "x": must be one of the names in pod.spec.resourceClaims: a, b'],
    {
      resourceClaims: [
        { name: 'b', resourceClaimName: 'b' },
        { name: 'a', resourceClaimName: 'a' },
      ],
    },
  ],
  [
    'S-187 security context',
    {
      securityContext: {
        runAsUser: -1,
        runAsGroup: 2_147_483_648,
        procMount: 'x',
        seccompProfile: {},
        appArmorProfile: { type: 'Localhost', localhostProfile: ' p' },
      },
    },
    [
      `.securityContext.runAsUser: Invalid value: -1: ${ids}`,
      `.securityContext.runAsGroup: Invalid value: 2147483648: ${ids}`,
      '.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set',
      '.securityContext.procMount: Unsupported value: "x": supported values: "Default", "Unmasked"',
      '.securityContext.appArmorProfile.localhostProfile: Invalid value: " p": must not be padded with whitespace',
    ],
  ],
  [
    'S-187 profiles',
    {
      securityContext: {
        seccompProfile: { type: 'Localhost' },
        appArmorProfile: { type: 'RuntimeDefault', localhostProfile: 'p' },
        procMount: 'Unmasked',
      },
    },
    [
      '.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost',
      '.securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`',
      '.securityContext.appArmorProfile.localhostProfile: Invalid value: "p": can only be set when AppArmor type is Localhost',
    ],
  ],
  ['S-187 procMount in a user namespace', { securityContext: { procMount: 'Unmasked' } }, [], { hostUsers: false }],
  [
    'S-187 AppArmor without a profile',
    { securityContext: { appArmorProfile: { type: 'Localhost' } } },
    ['.securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost'],
  ],
  ['S-187 a good AppArmor profile', { securityContext: { appArmorProfile: { type: 'Localhost', localhostProfile: 'p' } } }, []],
  [
    'S-187 an AppArmor profile that is too long',
    { securityContext: { appArmorProfile: { type: 'Localhost', localhostProfile: 'p'.repeat(4096) } } },
    ['.securityContext.appArmorProfile.localhostProfile: Too long: may not be more than 4095 bytes'],
  ],
  [
    'S-187 privilege escalation',
    { securityContext: { allowPrivilegeEscalation: false, privileged: true, capabilities: { add: ['CAP_SYS_ADMIN'] } } },
    [
      '.securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true,"capabilities":{"add":["CAP_SYS_ADMIN"]}}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true',
      '.securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true,"capabilities":{"add":["CAP_SYS_ADMIN"]}}: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN',
    ],
  ],
  [
    'S-188 probes',
    {
      livenessProbe: { successThreshold: 2, initialDelaySeconds: -1 },
      readinessProbe: { ...tcp, terminationGracePeriodSeconds: 5, successThreshold: 2 },
      startupProbe: { ...tcp, exec: { command: ['x'] }, terminationGracePeriodSeconds: 0 },
    },
    [
      '.livenessProbe: Required value: must specify a handler type',
      '.livenessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to 0',
      '.livenessProbe.successThreshold: Invalid value: 2: must be 1',
      '.readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes',
      '.startupProbe.tcpSocket: Forbidden: may not specify more than 1 handler type',
      '.startupProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0',
    ],
  ],
  [
    'S-189 handlers',
    {
      livenessProbe: { exec: {} },
      readinessProbe: { httpGet: { port: 0, scheme: 'http', httpHeaders: [{ name: 'a b', value: '' }] } },
      startupProbe: { grpc: { port: 70000 } },
      lifecycle: { preStop: { sleep: { seconds: 31 } }, postStart: { tcpSocket: { port: '' } } },
    },
    [
      '.lifecycle.postStart.tcpSocket.port: Invalid value: "": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)',
      '.lifecycle.postStart.tcpSocket.port: Invalid value: "": must contain at least one letter (a-z)',
      '.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)',
      '.livenessProbe.exec.command: Required value',
      `.readinessProbe.httpGet.port: Invalid value: 0: ${port}`,
      '.readinessProbe.httpGet.scheme: Unsupported value: "http": supported values: "HTTP", "HTTPS"',
      `.readinessProbe.httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')`,
      `.startupProbe.grpc.port: Invalid value: 70000: ${port}`,
    ],
  ],
  [
    'S-190 stop signal without an operating system',
    { lifecycle: { stopSignal: 'SIGTERM' } },
    ['.lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`'],
  ],
  ['S-190 stop signal', { lifecycle: { stopSignal: 'SIGUSR1' } }, [], { os: { name: 'linux' } }],
  [
    'S-190 unknown stop signal',
    { lifecycle: { stopSignal: 'SIGUSR1' } },
    ['.lifecycle.stopSignal: Unsupported value: "SIGUSR1": supported values: "SIGKILL", "SIGTERM"'],
    { os: { name: 'windows' } },
  ],
  [
    'S-127 S-128 S-192 restart policy and rules',
    {
      restartPolicy: 'Sometimes',
      restartPolicyRules: Array.from({ length: 21 }, () => ({ action: 'Restart', exitCodes: { operator: 'In', values: [1] } })),
    },
    [
      '.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
      '.restartPolicyRules: Too many: 21: must have at most 20 items',
    ],
  ],
  ['C-022 S-192 a policy of its own in a Pod that is not restarted', { restartPolicy: 'Always' }, [], { restartPolicy: 'Never' }],
  [
    'S-192 rules without a policy',
    {
      restartPolicyRules: [
        { action: 'x' },
        { action: 'Restart', exitCodes: { operator: 'Is', values: Array.from({ length: 256 }, (_, i) => i) } },
      ],
    },
    [
      '.restartPolicy: Required value: must specify restartPolicy when restart rules are used',
      '.restartPolicyRules[0].action: Unsupported value: "x": supported values: "Restart", "RestartAllContainers"',
      '.restartPolicyRules[0].exitCodes: Required value: must be specified',
      '.restartPolicyRules[1].exitCodes.operator: Unsupported value: "Is": supported values: "In", "NotIn"',
      '.restartPolicyRules[1].exitCodes.values: Too many: 256: must have at most 255 items',
    ],
  ],
  [
    'S-193 resize policy',
    {
      resizePolicy: [
        { resourceName: 'cpu', restartPolicy: 'RestartContainer' },
        { resourceName: 'cpu', restartPolicy: 'NotRequired' },
        { resourceName: 'disk', restartPolicy: 'NotRequired' },
      ],
    },
    [
      ".resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when pod `restartPolicy` is 'Never'",
      '.resizePolicy[1]: Duplicate value: "cpu"',
      '.resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory"',
    ],
    { restartPolicy: 'Never' },
  ],
];

for (const [rule, change, expected, spec] of rows) {
  test(rule, () =>
    assert.deepEqual(
      problemsOf(container(change, spec)),
      expected.map((line) => `spec.containers[0]${line}`),
    ),
  );
}

const c = (name: string, more: JsonObject = {}): JsonObject => ({ name, image: 'i', ...more });
const p = (hostPort: number): Json => [{ containerPort: 80, hostPort }];

const podRows: readonly (readonly [rule: string, spec: JsonObject, expected: readonly string[]])[] = [
  ['S-168 no containers', { containers: [] }, ['spec.containers: Required value']],
  ['S-126 S-127 S-169 a name twice', { containers: [c('x'), c('x')] }, ['spec.containers[1].name: Duplicate value: "x"']],
  [
    'S-169 an init container with the name of a container',
    { containers: [c('x')], initContainers: [c('y'), c('x'), c('y')] },
    ['spec.initContainers[1].name: Duplicate value: "x"', 'spec.initContainers[2].name: Duplicate value: "y"'],
  ],
  [
    'S-173 a host port twice',
    {
      containers: [
        c('x', { ports: p(80) }),
        c('y', { ports: p(80) }),
        c('z', { ports: [{ containerPort: 80, hostPort: 80, hostIP: '10.0.0.1' }] }),
      ],
    },
    ['spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//80"'],
  ],
  [
    'S-173 init containers are checked each on their own',
    {
      containers: [c('x', { ports: p(80) })],
      initContainers: [
        c('y', { ports: p(80) }),
        c('z', {
          ports: [
            { containerPort: 1, hostPort: 5 },
            { containerPort: 2, hostPort: 5 },
          ],
        }),
      ],
    },
    ['spec.initContainers[0].ports[1].hostPort: Duplicate value: "TCP//5"'],
  ],
  [
    'S-191 init containers have no probes',
    {
      containers: [c('x')],
      initContainers: [
        c('y', { lifecycle: {}, livenessProbe: tcp, readinessProbe: tcp, startupProbe: tcp }),
        c('s', { restartPolicy: 'Always', livenessProbe: tcp, lifecycle: {} }),
        c('r', { resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'RestartContainer' }] }),
      ],
    },
    [
      'spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always',
      'spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always',
      'spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always',
      'spec.initContainers[0].startupProbe: Forbidden: may not be set for init containers without restartPolicy=Always',
      'spec.initContainers[2].resizePolicy[0].restartPolicy: Invalid value: "RestartContainer": must be \'NotRequired\' for init containers without restartPolicy=Always',
    ],
  ],
  [
    'S-194 ephemeral containers',
    { containers: [c('x')], ephemeralContainers: [c('x', { targetContainerName: 'none', livenessProbe: tcp })] },
    [
      'spec.ephemeralContainers[0].name: Duplicate value: "x"',
      'spec.ephemeralContainers[0].targetContainerName: Not found: "none"',
      'spec.ephemeralContainers[0].livenessProbe: Forbidden: cannot be set for an Ephemeral Container',
      'spec.ephemeralContainers: Forbidden: cannot be set on create',
    ],
  ],
  [
    'S-156 a mount of a bad volume is not found',
    { volumes: [{ name: 'v', hostPath: {} }], containers: [c('x', { volumeMounts: [{ name: 'v', mountPath: '/v' }] })] },
    ['spec.volumes[0].hostPath.path: Required value', 'spec.containers[0].volumeMounts[0].name: Not found: "v"'],
  ],
  [
    'S-186 resources of the Pod',
    {
      resources: { requests: { cpu: '1', 'ephemeral-storage': '1' }, limits: { cpu: '1', memory: '1Gi' } },
      containers: [
        c('x', { resources: { requests: { cpu: '600m' }, limits: { memory: '2Gi' } } }),
        c('y', { resources: { requests: { cpu: '600m' } } }),
      ],
    },
    [
      'spec.resources.requests[ephemeral-storage]: Unsupported value: "ephemeral-storage": supported values: "cpu", "hugepages-", "memory"',
      'spec.resources.requests: Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi',
      'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 1200m',
      'spec.containers[0].resources.limits[memory]: Invalid value: "2Gi": must be less than or equal to pod limits of 1Gi',
    ],
  ],
  [
    'S-186 no claims for the Pod',
    { resources: { claims: [] }, containers: [c('x')] },
    ['spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level'],
  ],
];

for (const [rule, spec, expected] of podRows) test(rule, () => assert.deepEqual(problemsOf({ spec }), expected));
