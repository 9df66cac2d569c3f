import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type JsonObject, problemsOf } from '../../../test/support/manifest.ts';

const label =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const subdomain =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const name =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const labelValue =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const underscored =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const ids = 'must be between 0 and 2147483647, inclusive';
const ip = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)';

/** Problems of the base Pod with this change of `spec`, without their common beginning `spec.`. */
const rows: readonly (readonly [rule: string, spec: JsonObject, expected: readonly string[]])[] = [
  [
    'S-195 restart policy',
    { restartPolicy: 'x' },
    ['restartPolicy: Unsupported value: "x": supported values: "Always", "OnFailure", "Never"'],
  ],
  [
    'S-195 DNS policy',
    { dnsPolicy: 'x' },
    ['dnsPolicy: Unsupported value: "x": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"'],
  ],
  [
    'S-195 preemption policy',
    { preemptionPolicy: 'x' },
    ['preemptionPolicy: Unsupported value: "x": supported values: "PreemptLowerPriority", "Never"'],
  ],
  [
    'S-196 None without configuration',
    { dnsPolicy: 'None' },
    ['dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None'],
  ],
  [
    'S-196 None without nameservers',
    { dnsPolicy: 'None', dnsConfig: { searches: ['-'] } },
    ['dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None'],
  ],
  [
    'S-144 S-196 nameservers',
    { dnsConfig: { nameservers: ['1.2.3', '010.0.0.1', '::ffff:1.2.3.4', '2001:db8::1'] } },
    [
      'dnsConfig.nameservers: Invalid value: ["1.2.3","010.0.0.1","::ffff:1.2.3.4","2001:db8::1"]: must not have more than 3 nameservers',
      `dnsConfig.nameservers[0]: Invalid value: "1.2.3": ${ip}`,
      'dnsConfig.nameservers[1]: Invalid value: "010.0.0.1": must not have leading 0s',
      'dnsConfig.nameservers[2]: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address',
    ],
  ],
  ['S-196 searches', { dnsConfig: { searches: ['.', 'a_b.example.com.', '_tcp.example.com'] } }, []],
  [
    'S-196 a bad search',
    { dnsConfig: { searches: ['-a', 'a b'] } },
    [`dnsConfig.searches[0]: Invalid value: "-a": ${underscored}`, `dnsConfig.searches[1]: Invalid value: "a b": ${underscored}`],
  ],
  [
    'S-196 too many searches',
    { dnsConfig: { searches: Array.from({ length: 33 }, () => 'a') } },
    [
      `dnsConfig.searches: Invalid value: ${JSON.stringify(Array.from({ length: 33 }, () => 'a'))}: must not have more than 32 search paths`,
    ],
  ],
  ['S-196 options', { dnsConfig: { options: [{ value: '1' }] } }, ['dnsConfig.options[0]: Required value: must not be empty']],
  [
    'S-197 names',
    { nodeName: 'A', priorityClassName: 'B', runtimeClassName: 'C', hostname: 'd.e', subdomain: 'F', serviceAccountName: 'G' },
    [
      `serviceAccountName: Invalid value: "G": ${subdomain}`,
      `nodeName: Invalid value: "A": ${subdomain}`,
      'hostname: Invalid value: "d.e": must not contain dots',
      `subdomain: Invalid value: "F": ${label}`,
      `priorityClassName: Invalid value: "B": ${subdomain}`,
      `runtimeClassName: Invalid value: "C": ${subdomain}`,
    ],
  ],
  [
    'S-197 host name override',
    { hostnameOverride: 'a'.repeat(65), setHostnameAsFQDN: true },
    [
      'hostnameOverride: Too long: may not be more than 64 bytes',
      'hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true',
    ],
  ],
  [
    'S-198 active deadline',
    { activeDeadlineSeconds: 0 },
    ['activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive'],
  ],
  ['S-198 a good active deadline', { activeDeadlineSeconds: 3000 }, []],
  [
    'S-199 host aliases',
    { hostAliases: [{ ip: 'x', hostnames: ['A', 'b.c'] }] },
    [`hostAliases[0].ip: Invalid value: "x": ${ip}`, `hostAliases[0].hostnames[0]: Invalid value: "A": ${subdomain}`],
  ],
  [
    'S-200 tolerations',
    {
      tolerations: [
        { key: 'a b', operator: 'Exists' },
        { value: 'x' },
        { operator: 'Exists', tolerationSeconds: 5 },
        { key: 'a', operator: 'Exists', value: 'x' },
        { key: 'a', value: '-' },
        { key: 'a', operator: 'Gt', value: '1' },
        { key: 'a', effect: 'x' },
      ],
    },
    [
      `tolerations[0].key: Invalid value: "a b": ${name}`,
      'tolerations[1].operator: Invalid value: "": operator must be Exists when `key` is empty, which means "match all values and all keys"',
      `tolerations[2].effect: Invalid value: "": effect must be 'NoExecute' when \`tolerationSeconds\` is set`,
      'tolerations[3].operator: Invalid value: "x": value must be empty when `operator` is \'Exists\'',
      `tolerations[4].operator: Invalid value: "-": ${labelValue}`,
      'tolerations[5].operator: Unsupported value: "Gt": supported values: "Equal", "Exists", "Lt", "Gt"',
      'tolerations[6].effect: Unsupported value: "x": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
    ],
  ],
  [
    'S-201 node selector',
    { nodeSelector: { 'a b': '-' } },
    [`nodeSelector: Invalid value: "a b": ${name}`, `nodeSelector: Invalid value: "-": ${labelValue}`],
  ],
  [
    'S-202 node affinity without terms',
    { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } } } },
    [
      'affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term',
    ],
  ],
  [
    'S-202 node affinity expressions',
    {
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [
              {
                matchExpressions: [
                  { key: 'a', operator: 'In' },
                  { key: 'a', operator: 'Exists', values: ['x'] },
                  { key: 'a', operator: 'Gt', values: ['1', '2'] },
                  { key: 'a b', operator: 'Is', values: ['-'] },
                ],
                matchFields: [
                  { key: 'metadata.name', operator: 'In', values: ['a', 'b'] },
                  { key: 'spec.x', operator: 'Gt', values: ['a'] },
                ],
              },
            ],
          },
          preferredDuringSchedulingIgnoredDuringExecution: [
            { weight: 0, preference: { matchExpressions: [{ key: 'a', operator: 'In', values: ['-'] }] } },
          ],
        },
      },
    },
    [
      ".values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
      ".values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
      ".values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
    ]
      .map((line, i) => `matchExpressions[${i}]${line}`)
      .concat([
        'matchExpressions[3].operator: Invalid value: "Is": not a valid selector operator',
        `matchExpressions[3].key: Invalid value: "a b": ${name}`,
        `matchExpressions[3].values[0]: Invalid value: "-": ${labelValue}`,
        "matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        'matchFields[1].operator: Invalid value: "Gt": not a valid selector operator',
        'matchFields[1].key: Invalid value: "spec.x": not a valid field selector key',
      ])
      .map((line) => `affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].${line}`)
      .concat([
        'affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100',
      ]),
  ],
  [
    'S-202 Pod affinity',
    {
      affinity: {
        podAffinity: {
          preferredDuringSchedulingIgnoredDuringExecution: [
            { weight: 101, podAffinityTerm: { topologyKey: 'a', labelSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } } },
          ],
        },
        podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'zone', namespaces: ['A'] }] },
      },
    },
    [
      'affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100',
      "affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
      `affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].namespace: Invalid value: "A": ${label}`,
    ],
  ],
  [
    'S-202 Pod affinity without topology key',
    { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{}] } } },
    [
      'affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty',
      'affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must be non-empty',
      `affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": ${name}`,
    ],
  ],
  [
    'S-203 topology spread',
    {
      topologySpreadConstraints: [
        { maxSkew: 0, whenUnsatisfiable: 'x' },
        { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway', minDomains: 2 },
        { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway', nodeTaintsPolicy: 'x', matchLabelKeys: ['a'] },
        { maxSkew: 1, topologyKey: 'rack', whenUnsatisfiable: 'DoNotSchedule', matchLabelKeys: ['a'], labelSelector: {} },
      ],
    },
    [
      'topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero',
      'topologySpreadConstraints[0].topologyKey: Required value: can not be empty',
      'topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "x": supported values: "DoNotSchedule", "ScheduleAnyway"',
      'topologySpreadConstraints[1].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway',
      'topologySpreadConstraints[2].{topologyKey, whenUnsatisfiable}: Duplicate value: "{zone, ScheduleAnyway}"',
      'topologySpreadConstraints[2].nodeTaintsPolicy: Unsupported value: "x": supported values: "Honor", "Ignore"',
      'topologySpreadConstraints[2].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set',
    ],
  ],
  [
    'S-139 S-204 Pod security context',
    {
      hostPID: true,
      shareProcessNamespace: true,
      securityContext: {
        fsGroup: -1,
        runAsUser: -1,
        runAsGroup: -1,
        supplementalGroups: [0, -1],
        fsGroupChangePolicy: 'x',
        supplementalGroupsPolicy: 'x',
        seLinuxChangePolicy: 'MountOption',
      },
    },
    [
      `securityContext.fsGroup: Invalid value: -1: ${ids}`,
      `securityContext.runAsUser: Invalid value: -1: ${ids}`,
      `securityContext.runAsGroup: Invalid value: -1: ${ids}`,
      `securityContext.supplementalGroups[1]: Invalid value: -1: ${ids}`,
      'securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled',
      'securityContext.fsGroupChangePolicy: Unsupported value: "x": supported values: "Always", "OnRootMismatch"',
      'securityContext.supplementalGroupsPolicy: Unsupported value: "x": supported values: "Merge", "Strict"',
      'securityContext.seLinuxChangePolicy: Unsupported value: "MountOption": supported values: "Recursive"',
    ],
  ],
  [
    'S-205 sysctls',
    {
      hostNetwork: true,
      hostIPC: true,
      securityContext: {
        sysctls: [
          { value: '1' },
          { name: 'A', value: '1' },
          { name: 'vm.x', value: '1' },
          { name: 'vm.x', value: '1' },
          { name: 'net.core.somaxconn', value: '1' },
          { name: 'net/ipv4/ip_forward', value: '1' },
          { name: 'kernel.shmmax', value: '1' },
          { name: 'fs.mqueue.msg_max', value: '1' },
        ],
      },
    },
    [
      'securityContext.sysctls[0].name: Required value',
      'securityContext.sysctls[1].name: Invalid value: "A": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$',
      'securityContext.sysctls[3].name: Duplicate value: "vm.x"',
      `securityContext.sysctls[4].name: Invalid value: "net.core.somaxconn": may not be specified when 'hostNetwork' is true`,
      `securityContext.sysctls[5].name: Invalid value: "net/ipv4/ip_forward": may not be specified when 'hostNetwork' is true`,
      `securityContext.sysctls[6].name: Invalid value: "kernel.shmmax": may not be specified when 'hostIPC' is true`,
      `securityContext.sysctls[7].name: Invalid value: "fs.mqueue.msg_max": may not be specified when 'hostIPC' is true`,
    ],
  ],
  [
    'S-206 user namespaces',
    {
      hostUsers: false,
      hostNetwork: true,
      hostPID: true,
      hostIPC: true,
    },
    [
      'hostNetwork: Forbidden: when `hostUsers` is false',
      'HostPID: Forbidden: when `hostUsers` is false',
      'HostIPC: Forbidden: when `hostUsers` is false',
    ],
  ],
  ['S-207 operating system without a name', { os: {} }, ['os.name: Required value']],
  ['S-207 unknown operating system', { os: { name: 'x' } }, ['os: Unsupported value: "x": supported values: "linux", "windows"']],
  [
    'S-207 windows options on linux',
    { os: { name: 'linux' }, securityContext: { windowsOptions: {} } },
    ['securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod'],
  ],
  [
    'S-207 linux options on windows',
    { os: { name: 'windows' }, hostPID: true, securityContext: { runAsUser: 1, sysctls: [{ name: 'a', value: '1' }] } },
    [
      'securityContext.sysctls: Forbidden: cannot be set for a windows pod',
      'securityContext.runAsUser: Forbidden: cannot be set for a windows pod',
      'hostPID: Forbidden: cannot be set for a windows pod',
    ],
  ],
  [
    'S-208 gates',
    { schedulingGates: [{ name: 'a' }, { name: 'a' }], readinessGates: [{ conditionType: 'a b' }] },
    [
      `readinessGates[0].conditionType: Invalid value: "a b": ${name}`,
      'schedulingGates[1]: Duplicate value: "a"',
      'nodeName: Forbidden: cannot be set until all schedulingGates have been cleared',
    ],
  ],
  [
    'S-209 overhead',
    { overhead: { foo: '-1' } },
    [
      'overhead.limits[foo]: Invalid value: "foo": must be a standard resource type or fully qualified',
      'overhead.limits[foo]: Invalid value: "foo": must be a standard resource for containers',
      'overhead.limits[foo]: Invalid value: "-1": must be greater than or equal to 0',
    ],
  ],
  [
    'S-210 resource claims',
    { resourceClaims: [{ name: 'a' }, { name: 'a', resourceClaimName: 'x', resourceClaimTemplateName: 'Y' }, {}] },
    [
      'resourceClaims[0]: Invalid value: {"name":"a"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`',
      'resourceClaims[1].name: Duplicate value: "a"',
      'resourceClaims[1]: Invalid value: {"name":"a","resourceClaimName":"x","resourceClaimTemplateName":"Y"}: at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified',
      `resourceClaims[1].resourceClaimTemplateName: Invalid value: "Y": ${subdomain}`,
      'resourceClaims[2].name: Required value',
      'resourceClaims[2]: Invalid value: {"name":""}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`',
    ],
  ],
  ['S-211 any grace period', { terminationGracePeriodSeconds: 9_007_199_254_740_991 }, []],
  ['S-211 no grace period', { terminationGracePeriodSeconds: 0 }, []],
];

for (const [rule, spec, expected] of rows) {
  test(rule, () =>
    assert.deepEqual(
      problemsOf({ spec }),
      expected.map((line) => `spec.${line}`),
    ),
  );
}
