import assert from 'node:assert/strict';
import { test } from 'node:test';
import { container, type JsonObject, problemsOf } from '../../../test/support/manifest.ts';

const name =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const subdomain =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const label =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const labelValue =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r', uid: 'u' };
const seccompPod = 'seccomp.security.alpha.kubernetes.io/pod';
const seccompWeb = 'container.seccomp.security.alpha.kubernetes.io/web';
const appArmorWeb = 'container.apparmor.security.beta.kubernetes.io/web';

const rows: readonly (readonly [rule: string, change: JsonObject, expected: readonly string[]])[] = [
  ['S-125 a valid Pod', {}, []],
  ['S-145 upper case in the name', { metadata: { name: 'Web' } }, [`metadata.name: Invalid value: "Web": ${subdomain}`]],
  [
    'S-134 a name that is too long',
    { metadata: { name: 'a'.repeat(254) } },
    [`metadata.name: Invalid value: "${'a'.repeat(254)}": must be no more than 253 characters`],
  ],
  ['S-145 dots in the namespace', { metadata: { namespace: 'a.b' } }, ['metadata.namespace: Invalid value: "a.b": must not contain dots']],
  ['S-133 upper case in the namespace', { metadata: { namespace: 'A' } }, [`metadata.namespace: Invalid value: "A": ${label}`]],
  ['S-146 a prefix may end in a dash', { metadata: { generateName: 'web-' } }, []],
  ['S-146 a bad prefix', { metadata: { generateName: '-' } }, [`metadata.generateName: Invalid value: "-": ${subdomain}`]],
  [
    'S-147 negative generation',
    { metadata: { generation: -1 } },
    ['metadata.generation: Invalid value: -1: must be greater than or equal to 0'],
  ],
  ['S-137 S-148 label key', { metadata: { labels: { 'a b': 'x' } } }, [`metadata.labels: Invalid value: "a b": name part ${name}`]],
  ['S-148 label value', { metadata: { labels: { a: '-' } } }, [`metadata.labels: Invalid value: "-": ${labelValue}`]],
  [
    'S-135 label key without a name',
    { metadata: { labels: { 'example.com/': 'x' } } },
    [
      'metadata.labels: Invalid value: "example.com/": name part must be non-empty',
      `metadata.labels: Invalid value: "example.com/": name part ${name}`,
    ],
  ],
  [
    'S-135 label key without a prefix',
    { metadata: { labels: { '/a': 'x' } } },
    ['metadata.labels: Invalid value: "/a": prefix part must be non-empty'],
  ],
  [
    'S-135 label key with a bad prefix and a long name',
    { metadata: { labels: { [`A/${'a'.repeat(64)}`]: '' } } },
    [
      `metadata.labels: Invalid value: "A/${'a'.repeat(64)}": prefix part ${subdomain}`,
      `metadata.labels: Invalid value: "A/${'a'.repeat(64)}": name part must be no more than 63 bytes`,
    ],
  ],
  [
    'S-136 label value that is too long',
    { metadata: { labels: { a: 'b'.repeat(64) } } },
    [`metadata.labels: Invalid value: "${'b'.repeat(64)}": must be no more than 63 bytes`],
  ],
  ['S-149 annotation keys are compared in lower case', { metadata: { annotations: { 'Example.COM/Key': 'any  value' } } }, []],
  ['S-149 annotation key', { metadata: { annotations: { 'a b': '' } } }, [`metadata.annotations: Invalid value: "a b": name part ${name}`]],
  [
    'S-128 S-149 annotations that are too long together',
    { metadata: { annotations: { a: 'x'.repeat(262_144) } } },
    ['metadata.annotations: Too long: may not be more than 262144 bytes'],
  ],
  ['S-149 annotations of exactly the limit', { metadata: { annotations: { a: 'x'.repeat(262_143) } } }, []],
  [
    'S-150 an empty owner',
    { metadata: { ownerReferences: [{}] } },
    [
      'metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty',
      'metadata.ownerReferences.kind: Invalid value: "": must not be empty',
      'metadata.ownerReferences.name: Invalid value: "": must not be empty',
      'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
    ],
  ],
  [
    'S-150 an event as owner',
    { metadata: { ownerReferences: [{ apiVersion: 'v1', kind: 'Event', name: 'e', uid: 'u' }] } },
    [
      'metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"e","uid":"u"}: /v1, Kind=Event is disallowed from being an owner',
    ],
  ],
  [
    'S-150 two controllers',
    {
      metadata: {
        ownerReferences: [
          { ...owner, controller: true },
          { ...owner, name: 's', controller: true },
        ],
      },
    },
    [
      'metadata.ownerReferences: Invalid value: [{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"u","controller":true},{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"s","uid":"u","controller":true}]: Only one reference can have Controller set to true. Found "true" in references for ReplicaSet/r and ReplicaSet/s',
    ],
  ],
  [
    'S-151 a finalizer that is not standard',
    { metadata: { finalizers: ['mine', 'example.com/mine'] } },
    ['metadata.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified'],
  ],
  [
    'S-151 contradicting finalizers',
    { metadata: { finalizers: ['orphan', 'foregroundDeletion'] } },
    ['metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set'],
  ],
  [
    'S-152 mirror annotation without a node',
    { metadata: { annotations: { 'kubernetes.io/config.mirror': 'x' } }, spec: { nodeName: '' } },
    ['metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if mirror pod annotation is set'],
  ],
  [
    'S-153 deletion cost',
    { metadata: { annotations: { 'controller.kubernetes.io/pod-deletion-cost': '01' } } },
    ['metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "01": must be a 32bit integer'],
  ],
  ['S-153 a good deletion cost', { metadata: { annotations: { 'controller.kubernetes.io/pod-deletion-cost': '-5' } } }, []],
  [
    'S-153 tolerations in an annotation',
    { metadata: { annotations: { 'scheduler.alpha.kubernetes.io/tolerations': '[{"operator":"Equal"}]' } } },
    [
      'metadata.annotations.scheduler.alpha.kubernetes.io/tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"',
    ],
  ],
  [
    'S-154 seccomp annotation',
    { metadata: { annotations: { [seccompPod]: 'nonsense', [seccompWeb]: 'localhost/../x' } } },
    [
      `metadata.annotations.${seccompPod}: Invalid value: "nonsense": must be a valid seccomp profile`,
      `metadata.annotations.${seccompWeb}: Invalid value: "../x": must not contain '..'`,
    ],
  ],
  [
    'S-154 seccomp annotation and field',
    {
      metadata: { annotations: { [seccompPod]: 'unconfined', [seccompWeb]: 'localhost/a' } },
      spec: {
        securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
        containers: [{ name: 'web', image: 'i', securityContext: { seccompProfile: { type: 'Localhost', localhostProfile: 'b' } } }],
      },
    },
    [
      'spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match',
      'spec.containers[0].securityContext.seccompProfile.localhostProfile: Forbidden: seccomp profile in annotation and field must match',
    ],
  ],
  [
    'S-155 AppArmor annotation',
    { metadata: { annotations: { 'container.apparmor.security.beta.kubernetes.io/none': 'unconfined', [appArmorWeb]: 'x' } } },
    [
      'metadata.annotations[container.apparmor.security.beta.kubernetes.io/none]: Invalid value: "none": container not found',
      `metadata.annotations[${appArmorWeb}]: Invalid value: "x": invalid AppArmor profile name: "x"`,
    ],
  ],
  [
    'S-155 AppArmor annotation and field',
    {
      metadata: { annotations: { [appArmorWeb]: 'runtime/default' } },
      ...container({ securityContext: { appArmorProfile: { type: 'Unconfined' } } }),
    },
    ['spec.containers[0].securityContext.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match'],
  ],
];

for (const [rule, change, expected] of rows) test(rule, () => assert.deepEqual(problemsOf(change), expected));
