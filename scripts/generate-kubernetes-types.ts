// Writes src/api/gen/kubernetes.ts (types) and src/api/gen/fields.ts (the field table that strict decoding
// walks) and src/api/gen/docs.ts (descriptions for `kubectl explain`, packed) from the model classes of @kubernetes/client-node,
// which are themselves generated from Kubernetes' OpenAPI document, and descriptions from kubernetes-types where those
// have none. Run with `npm run generate:kubernetes` after updating that package, and commit the result.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

const roots = ['V1Pod', 'V1Node', 'V1Namespace', 'V1Lease', 'V1Status', 'CoreV1Event', 'EventsV1Event'];

interface Attribute {
  readonly name: string;
  readonly baseName: string;
  readonly type: string;
  readonly format: string;
}

const require = createRequire(import.meta.url);
const models = path.join(path.dirname(require.resolve('@kubernetes/client-node')), 'gen', 'models');

const shortName = (className: string): string =>
  className === 'CoreV1Event' ? 'Event' : className === 'EventsV1Event' ? 'EventsEvent' : className.replace(/^V1(?=[A-Z])/, '');

/** Kubernetes' encoder writes `null` for it where it has no value. */
const isNullable = (type: string, field: string): boolean =>
  (type === 'PodCondition' && field === 'lastProbeTime') || (/Event$/.test(type) && field === 'eventTime');

const isModel = (type: string): boolean => /^(V\d|CoreV1|EventsV1|Admission)[A-Za-z0-9]*$/.test(type) && type !== 'V1MicroTime';

/** The members of each class as the declaration file gives them: which are required, and their documentation. */
function declared(className: string): Map<string, { required: boolean; doc: string }> {
  const text = readFileSync(path.join(models, `${className}.d.ts`), 'utf8');
  const members = new Map<string, { required: boolean; doc: string }>();
  for (const match of text.matchAll(/(?:\/\*\*\s*\n((?:\s*\*(?!\/).*\n)*)\s*\*\/\s*\n)?\s*'([^']+)'(\??): ([^;]+);/g)) {
    const doc = (match[1] ?? '')
      .replaceAll(/^\s*\* ?/gm, '')
      .replaceAll('\\', '')
      .trim();
    members.set(match[2] ?? '', { required: match[3] !== '?', doc });
  }
  return members;
}

function attributes(className: string): Attribute[] {
  const text = readFileSync(path.join(models, `${className}.js`), 'utf8');
  const start = text.indexOf('attributeTypeMap = [');
  const json = text.slice(start + 'attributeTypeMap = '.length, text.indexOf('];', start) + 1);
  return JSON.parse(json) as Attribute[];
}

const fullerTypes = path.dirname(require.resolve('kubernetes-types/package.json'));
const fullerFiles = ['core', 'meta', 'coordination', 'events'].map((group) => ({
  group,
  text: readFileSync(path.join(fullerTypes, group, 'v1.d.ts'), 'utf8'),
}));

/** The documentation of a class' members that is lost in the model classes: of those that are objects, and where paragraphs end. */
function fullerDocs(className: string): Map<string, string> {
  const inEvents = className.startsWith('EventsV1');
  const name = className.replace(/^(CoreV1|EventsV1|V1)(?=[A-Z])/, '');
  for (const { group, text } of fullerFiles) {
    if (inEvents !== (group === 'events')) continue;
    const start = text.indexOf(`export interface ${name} {`);
    if (start < 0) continue;
    const body = text.slice(start, text.indexOf('\n}', start));
    const members = body.matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*(?:readonly )?"?([\w$-]+)"?\??:/g);
    return new Map([...members].map(([, doc = '', member = '']) => [member, doc.replaceAll(/^\s*\* ?/gm, '').trim()]));
  }
  return new Map();
}

/** Of fields that are younger than kubernetes-types, in our words. */
const ownDocs: Readonly<Record<string, string>> = {
  'NodeStatus.features': 'What the container runtime can do, whatever the handler.',
  'NodeSystemInfo.swap': 'The swap space of the node.',
  'PodStatus.extendedResourceClaimStatus': 'The ResourceClaim that was made for the extended resources of the Pod.',
  'PodStatus.resources': 'The resources of the Pod as a whole that it has been given.',
  'ContainerStatus.user': 'The user that the first process of the container was started as.',
  'VolumeMountStatus.volumeStatus': 'What is special about the mount of a volume of this kind.',
  'VolumeStatus.image': 'The image that is mounted.',
  'ContainerUser.linux': 'The user and the groups of a container on Linux.',
  'PodSpec.resources': 'The resources of the Pod as a whole, which its containers share.',
  'PodSpec.schedulingGroup': 'The group of Pods that this one is scheduled together with.',
  'Volume.image': 'The contents of an image or of another object of an OCI registry, to be mounted for reading.',
  'VolumeProjection.podCertificate': 'A key and a certificate for the Pod, renewed while it runs.',
  'ContainerRestartRule.exitCodes': 'The exit codes that the rule is for.',
  'EnvVarSource.fileKeyRef': 'A variable from a file in a volume of the Pod.',
};

/** The models say the same of every field of this type. */
const ofMicroTimes = 'MicroTime is version of Time with microsecond level precision.';

/** What is told of a field: `doc` of the newer document, unless the other one only has more of it. */
function fullest(doc: string, other = ''): string {
  const words = (text: string): string => text.replaceAll(/\s+/g, ' ').trim();
  return other !== '' && (doc === '' || doc === ofMicroTimes || words(doc) === words(other)) ? other : doc;
}

/** A type expression of the model classes → ours, and the field-table code for it. */
function convert(a: Attribute, need: (model: string) => void): { ts: string; code: string } {
  const of = (type: string, format: string): { ts: string; code: string } => {
    const array = /^Array<(.+)>$/.exec(type);
    if (array?.[1] !== undefined) {
      const item = of(array[1], format);
      return { ts: `readonly ${item.ts.includes('|') ? `(${item.ts})` : item.ts}[]`, code: `[]${item.code}` };
    }
    const map = /^\{ \[key: string\]: (.+); \}$/.exec(type);
    if (map?.[1] !== undefined) {
      const isQuantities =
        map[1] === 'string' && ['limits', 'requests', 'overhead', 'capacity', 'allocatable', 'allocatedResources'].includes(a.baseName);
      const item = isQuantities ? { ts: 'Quantity', code: 'quantity' } : of(map[1], format);
      return { ts: `Readonly<Record<string, ${item.ts}>>`, code: `{}${item.code}` };
    }
    if (type === 'string' && (a.baseName === 'sizeLimit' || a.baseName === 'divisor')) return { ts: 'Quantity', code: 'quantity' };
    if (type === 'string') return { ts: 'string', code: format === 'byte' ? 'bytes' : 'string' };
    if (type === 'number') return { ts: 'number', code: format === '' ? 'number' : format };
    if (type === 'boolean') return { ts: 'boolean', code: 'boolean' };
    if (type === 'Date') return { ts: 'string', code: 'time' };
    if (type === 'V1MicroTime') return { ts: 'string', code: 'microtime' };
    if (type === 'IntOrString') return { ts: 'number | string', code: 'intOrString' };
    if (type === 'any') return { ts: 'unknown', code: 'any' };
    if (isModel(type)) {
      need(type);
      return { ts: shortName(type), code: shortName(type) };
    }
    throw new Error(`${a.name}: unknown type ${type}`);
  };
  return of(a.type, a.format);
}

/** What the class as a whole is for. */
function classDoc(className: string): string {
  const text = readFileSync(path.join(models, `${className}.d.ts`), 'utf8');
  const match = /\/\*\*\s*\n((?:\s*\*(?!\/).*\n)*)\s*\*\/\s*\nexport declare class/.exec(text);
  return (match?.[1] ?? '')
    .replaceAll(/^\s*\* ?/gm, '')
    .replaceAll('\\', '')
    .trim();
}

const done = new Map<string, { types: string; fields: string; docs: Record<string, string> }>();
const todo = [...roots];
for (let className = todo.pop(); className !== undefined; className = todo.pop()) {
  if (done.has(className)) continue;
  const members = declared(className);
  const lines: string[] = [];
  const fields: string[] = [];
  const docs: Record<string, string> = { '': classDoc(className) };
  const fuller = fullerDocs(className);
  for (const a of attributes(className)) {
    const { ts, code } = convert(a, (model) => todo.push(model));
    const member = members.get(a.name);
    if (member === undefined) throw new Error(`${className}.${a.name} is not declared`);
    // Names differ where the field is a reserved word in TypeScript; the document's own spelling counts.
    const key = /^[A-Za-z_]\w*$/.test(a.baseName) ? a.baseName : JSON.stringify(a.baseName);
    const orNull = isNullable(shortName(className), a.baseName) ? ' | null' : '';
    lines.push(`  readonly ${key}${member.required ? '' : '?'}: ${ts}${orNull}${member.required ? '' : ' | undefined'};`);
    docs[a.baseName] = fullest(member.doc, fuller.get(a.baseName) ?? ownDocs[`${shortName(className)}.${a.baseName}`]);
    fields.push(`    ${key}: '${code}${member.required ? '!' : ''}',`);
  }
  const name = shortName(className);
  done.set(className, {
    types: `export interface ${name} {\n${lines.join('\n')}\n}\n`,
    fields: `  ${name}: {\n${fields.join('\n')}\n  },`,
    docs,
  });
}

const version = (JSON.parse(readFileSync(path.join(models, '..', '..', '..', 'package.json'), 'utf8')) as { version: string }).version;
const header = `// Generated by scripts/generate-kubernetes-types.ts from @kubernetes/client-node ${version}. Do not edit.\n\n`;
const sorted = [...done.entries()].sort(([a], [b]) => shortName(a).localeCompare(shortName(b)));
const out = path.join(import.meta.dirname, '..', 'src', 'api', 'gen');
writeFileSync(
  path.join(out, 'kubernetes.ts'),
  `${header}/** A Kubernetes quantity, for example \`100m\` or \`64Mi\`. */\nexport type Quantity = string;\n\n${sorted.map(([, d]) => d.types).join('\n')}`,
);
writeFileSync(
  path.join(out, 'fields.ts'),
  `${header}/**\n * Field name → type of each object: a scalar, the name of another object, \`[]\` or \`{}\` before either for a\n * list or a map, \`!\` behind it when the OpenAPI document calls the field required.\n */\nexport const fields: Readonly<Record<string, Readonly<Record<string, string>>>> = {\n${sorted.map(([, d]) => d.fields).join('\n')}\n};\n`,
);
const docs = Object.fromEntries(
  sorted.map(([className, d]) => [shortName(className), Object.fromEntries(Object.entries(d.docs).filter(([, text]) => text !== ''))]),
);
const packed = gzipSync(JSON.stringify(docs), { level: 9 }).toString('base64');
writeFileSync(
  path.join(out, 'docs.ts'),
  `${header}/** Descriptions as JSON (type → field → text, the type's own under the empty name), gzip, base64: unpacked when somebody asks. */\nexport const packedDocs =\n  '${packed}';\n`,
);
