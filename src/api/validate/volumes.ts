// Validation of a Pod's volumes (S-156 … S-167).
import type {
  DownwardAPIVolumeFile,
  HostPathVolumeSource,
  KeyToPath,
  ObjectMeta,
  PersistentVolumeClaimTemplate,
  PodSpec,
  ProjectedVolumeSource,
  Volume,
  VolumeProjection,
} from '../gen/kubernetes.ts';
import { parseQuantity } from '../quantity.ts';
import { validateFieldSelector, validateResourceSelector, volumeFieldPaths } from './downward-api.ts';
import { dnsLabel, dnsSubdomain, fileMode, nonReservedRelativePath, pathWithoutBacksteps, qualifiedName } from './formats.ts';
import { validateLabels } from './metadata.ts';
import { validateNetworkVolume } from './network-volumes.ts';
import type { Report } from './report.ts';
import { validateLabelSelector } from './scheduling.ts';

const hostPathTypes = ['', 'BlockDevice', 'CharDevice', 'Directory', 'DirectoryOrCreate', 'File', 'FileOrCreate', 'Socket'];
const pullPolicies = ['Always', 'IfNotPresent', 'Never'];

/** In the order in which Kubernetes looks at them: of several sources, the first counts. */
const sourceOrder = [
  'emptyDir',
  'hostPath',
  'gitRepo',
  'gcePersistentDisk',
  'awsElasticBlockStore',
  'secret',
  'nfs',
  'iscsi',
  'glusterfs',
  'flocker',
  'persistentVolumeClaim',
  'rbd',
  'cinder',
  'cephfs',
  'quobyte',
  'downwardAPI',
  'fc',
  'flexVolume',
  'configMap',
  'azureFile',
  'vsphereVolume',
  'photonPersistentDisk',
  'portworxVolume',
  'azureDisk',
  'storageos',
  'projected',
  'scaleIO',
  'csi',
  'ephemeral',
  'image',
] as const satisfies readonly (keyof Volume)[];

/** Volumes without a problem, by name: the only ones that mounts may refer to (S-156). */
export type UsableVolumes = ReadonlyMap<string, Volume>;

export function validateVolumes(spec: PodSpec, metadata: ObjectMeta, report: Report): UsableVolumes {
  const volumes = spec.volumes ?? [];
  const usable = new Map<string, Volume>();
  const generatedClaims = new Set(
    volumes.filter((volume) => volume.ephemeral !== undefined).map((volume) => `${metadata.name ?? ''}-${volume.name}`),
  );
  for (const [i, volume] of volumes.entries()) {
    const field = `spec.volumes[${i}]`;
    const before = report.problems.length;
    validateSource(field, volume, metadata, report);
    if (volume.name === '') report.required(`${field}.name`);
    else report.invalidEach(`${field}.name`, volume.name, dnsLabel(volume.name));
    if (usable.has(volume.name)) report.duplicate(`${field}.name`, volume.name);
    if (report.problems.length === before) usable.set(volume.name, volume);
    const claim = volume.persistentVolumeClaim?.claimName;
    if (claim !== undefined && generatedClaims.has(claim)) {
      report.invalid(
        `${field}.persistentVolumeClaim.claimName`,
        claim,
        'must not reference a PVC that gets created for an ephemeral volume',
      );
    }
  }
  return usable;
}

/** S-157: one source, and that one valid. */
function validateSource(field: string, volume: Volume, metadata: ObjectMeta, report: Report): void {
  const present = sourceOrder.filter((name) => volume[name] !== undefined);
  const [first, ...others] = present;
  if (first === undefined) report.required(field, 'must specify a volume type');
  else validateContent(field, first, volume, metadata, report);
  for (const name of others) report.forbidden(`${field}.${name}`, 'may not specify more than 1 volume type');
}

function validateContent(field: string, kind: (typeof sourceOrder)[number], volume: Volume, metadata: ObjectMeta, report: Report): void {
  const at = `${field}.${kind}`;
  switch (kind) {
    case 'emptyDir': {
      const limit = parseQuantity(volume.emptyDir?.sizeLimit ?? '0');
      // S-158
      if (limit !== undefined && limit.nano < 0n) report.forbidden(`${at}.sizeLimit`, 'SizeLimit field must be a valid resource quantity');
      return;
    }
    case 'hostPath':
      if (volume.hostPath !== undefined) validateHostPath(at, volume.hostPath, report);
      return;
    case 'secret': {
      const secret = volume.secret;
      if ((secret?.secretName ?? '') === '') report.required(`${at}.secretName`);
      validateMode(`${at}.defaultMode`, secret?.defaultMode, report);
      validateItems(at, secret?.items, report);
      return;
    }
    case 'configMap': {
      const configMap = volume.configMap;
      if ((configMap?.name ?? '') === '') report.required(`${at}.name`);
      validateMode(`${at}.defaultMode`, configMap?.defaultMode, report);
      validateItems(at, configMap?.items, report);
      return;
    }
    case 'downwardAPI':
      validateMode(`${at}.defaultMode`, volume.downwardAPI?.defaultMode, report);
      for (const file of volume.downwardAPI?.items ?? []) validateDownwardFile(at, file, report);
      return;
    case 'projected':
      if (volume.projected !== undefined) validateProjected(at, volume.projected, report);
      return;
    case 'image':
      // S-166; the node agent leaves an empty reference to run time (S-132).
      report.oneOf(`${at}.pullPolicy`, volume.image?.pullPolicy ?? '', pullPolicies);
      return;
    case 'ephemeral':
      validateEphemeral(field, volume, metadata, report);
      return;
    default:
      validateNetworkVolume(field, kind, volume, report);
  }
}

/** S-159 */
function validateHostPath(at: string, source: HostPathVolumeSource, report: Report): void {
  if (source.path === '') {
    report.required(`${at}.path`);
    return;
  }
  report.invalidEach(`${at}.path`, source.path, pathWithoutBacksteps(source.path));
  report.oneOf(`${at}.type`, source.type ?? '', hostPathTypes);
}

function validateMode(field: string, mode: number | undefined, report: Report): void {
  if (mode !== undefined) report.invalidEach(field, mode, fileMode(mode));
}

/** S-160 */
function validateItems(at: string, items: readonly KeyToPath[] | undefined, report: Report): void {
  for (const [i, item] of (items ?? []).entries()) {
    const field = `${at}.items[${i}]`;
    if (item.key === '') report.required(`${field}.key`);
    if (item.path === '') report.required(`${field}.path`);
    report.invalidEach(`${field}.path`, item.path, nonReservedRelativePath(item.path));
    validateMode(`${field}.mode`, item.mode, report);
  }
}

/** S-161; the item's index is not part of the path. */
function validateDownwardFile(at: string, file: DownwardAPIVolumeFile, report: Report): void {
  if (file.path === '') report.required(`${at}.path`);
  report.invalidEach(`${at}.path`, file.path, nonReservedRelativePath(file.path));
  if (file.fieldRef !== undefined) {
    validateFieldSelector(`${at}.fieldRef`, file.fieldRef, volumeFieldPaths, report);
    if (file.resourceFieldRef !== undefined) {
      report.invalid(at, 'resource', 'fieldRef and resourceFieldRef can not be specified simultaneously');
    }
  } else if (file.resourceFieldRef !== undefined) {
    validateResourceSelector(`${at}.resourceFieldRef`, file.resourceFieldRef, true, report);
  } else {
    report.required(at, 'one of fieldRef and resourceFieldRef is required');
  }
  validateMode(`${at}.mode`, file.mode, report);
}

/** S-162 */
function validateProjected(at: string, projected: ProjectedVolumeSource, report: Report): void {
  validateMode(`${at}.defaultMode`, projected.defaultMode, report);
  const paths = new Set<string>();
  const claim = (path: string | undefined, shown: string | undefined): void => {
    if (path === undefined || path === '') return;
    if (paths.has(path)) report.invalid(at, shown ?? path, 'conflicting duplicate paths');
    paths.add(path);
  };
  for (const [i, source] of (projected.sources ?? []).entries()) {
    const field = `${at}.sources[${i}]`;
    for (const kind of ['secret', 'configMap'] as const) {
      const object = source[kind];
      if (object === undefined) continue;
      if ((object.name ?? '') === '') report.required(`${field}.${kind}.name`);
      validateItems(`${field}.${kind}`, object.items, report);
      for (const item of object.items ?? []) claim(item.path, object.name ?? '');
    }
    for (const file of source.downwardAPI?.items ?? []) {
      validateDownwardFile(`${field}.downwardAPI`, file, report);
      claim(file.path, undefined);
    }
    validateToken(at, field, source, report);
    validateTrustBundle(`${field}.clusterTrustBundle`, source, report);
    claim(source.clusterTrustBundle?.path, undefined);
    validatePodCertificate(`${field}.podCertificate`, source, report);
    for (const name of ['credentialBundlePath', 'keyPath', 'certificateChainPath'] as const)
      claim(source.podCertificate?.[name], undefined);
    if (Object.values(source).filter((member) => member !== undefined).length > 1) {
      report.forbidden(field, 'may not specify more than 1 volume type per source');
    }
  }
}

function validateToken(at: string, field: string, source: VolumeProjection, report: Report): void {
  const token = source.serviceAccountToken;
  if (token === undefined) return;
  const { expirationSeconds = 3600, path } = token;
  const expiry = `${field}.serviceAccountToken.expirationSeconds`;
  if (expirationSeconds < 600) report.invalid(expiry, expirationSeconds, 'may not specify a duration less than 10 minutes');
  if (expirationSeconds > 2 ** 32) report.invalid(expiry, expirationSeconds, 'may not specify a duration larger than 2^32 seconds');
  if (path === '') report.required(`${at}.path`);
  else report.invalidEach(`${at}.path`, path, nonReservedRelativePath(path));
}

function validateTrustBundle(field: string, source: VolumeProjection, report: Report): void {
  const bundle = source.clusterTrustBundle;
  if (bundle === undefined) return;
  const { name, signerName, labelSelector, path } = bundle;
  if (name !== undefined && signerName !== undefined) report.invalid(field, bundle, 'only one of name and signerName may be used');
  else if (name !== undefined) {
    if (name === '') report.required(`${field}.name`, 'must be a valid object name');
    const messages = name.split(':').length > 1 ? name.split(':').flatMap(dnsSubdomain) : dnsSubdomain(name);
    report.invalidEach(
      `${field}.name`,
      name,
      messages.map((message) => `not a valid clustertrustbundlename: ${message}`),
    );
    if (labelSelector !== undefined) {
      report.invalid(`${field}.labelSelector`, labelSelector, 'labelSelector must be unset if name is specified');
    }
  } else if (signerName !== undefined) {
    if (signerName === '') report.required(`${field}.signerName`, 'must be a valid signer name');
    validateSignerName(`${field}.signerName`, signerName, report);
    if (labelSelector !== undefined) validateLabelSelector(`${field}.labelSelector`, labelSelector, report);
  } else {
    report.required(field, 'either name or signerName must be specified');
  }
  if (path === '') report.required(`${field}.path`);
  report.invalidEach(`${field}.path`, path, nonReservedRelativePath(path));
}

const keyTypes = ['ECDSAP256', 'ECDSAP384', 'ECDSAP521', 'ED25519', 'RSA3072', 'RSA4096'];

function validatePodCertificate(field: string, source: VolumeProjection, report: Report): void {
  const certificate = source.podCertificate;
  if (certificate === undefined) return;
  validateSignerName(`${field}.signerName`, certificate.signerName, report);
  report.oneOf(`${field}.keyType`, certificate.keyType, keyTypes);
  const { maxExpirationSeconds } = certificate;
  if (maxExpirationSeconds !== undefined && maxExpirationSeconds < 3600) {
    report.invalid(`${field}.maxExpirationSeconds`, maxExpirationSeconds, 'if provided, maxExpirationSeconds must be >= 3600');
  }
  let outputs = 0;
  for (const name of ['credentialBundlePath', 'keyPath', 'certificateChainPath'] as const) {
    const path = certificate[name] ?? '';
    if (path === '') continue;
    outputs += 1;
    report.invalidEach(`${field}.${name}`, path, nonReservedRelativePath(path));
  }
  if (outputs === 0) report.required(field, 'specify at least one of credentialBundlePath, keyPath, and certificateChainPath');
}

/** `example.com/signer`: a domain and one path segment. */
function validateSignerName(field: string, name: string, report: Report): void {
  if (name === '') {
    report.required(field);
    return;
  }
  const [domain = '', ...path] = name.split('/');
  if (path.length !== 1) {
    report.invalid(field, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
    return;
  }
  report.invalidEach(field, domain, dnsSubdomain(domain));
  if (!domain.includes('.')) report.invalid(field, domain, 'should be a domain with at least two segments separated by dots');
  report.invalidEach(field, path[0], dnsSubdomain(path[0] ?? ''));
}

/** S-167 */
function validateEphemeral(field: string, volume: Volume, metadata: ObjectMeta, report: Report): void {
  const template = volume.ephemeral?.volumeClaimTemplate;
  const at = `${field}.ephemeral.volumeClaimTemplate`;
  if (template === undefined) report.required(at);
  else validateClaimTemplate(at, template, report);
  if ((metadata.name ?? '') === '' || volume.name === '') return;
  const claim = `${metadata.name ?? ''}-${volume.name}`;
  report.invalidEach(
    `${field}.name`,
    volume.name,
    dnsSubdomain(claim).map((message) => `PVC name ${JSON.stringify(claim)}: ${message}`),
  );
}

const accessModes = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'];

function validateClaimTemplate(at: string, template: PersistentVolumeClaimTemplate, report: Report): void {
  validateLabels(`${at}.metadata.labels`, template.metadata?.labels, report);
  for (const key of Object.keys(template.metadata?.annotations ?? {})) {
    report.invalidEach(`${at}.metadata.annotations`, key, qualifiedName(key.toLowerCase()));
  }
  const { spec } = template;
  const modes = spec.accessModes ?? [];
  if (modes.length === 0) report.required(`${at}.spec.accessModes`, 'at least 1 access mode is required');
  for (const mode of modes) report.oneOf(`${at}.spec.accessModes`, mode, accessModes);
  if (modes.includes('ReadWriteOncePod') && modes.length > 1) {
    report.forbidden(`${at}.spec.accessModes`, 'may not use ReadWriteOncePod with other access modes');
  }
  if (spec.selector !== undefined) validateLabelSelector(`${at}.spec.selector`, spec.selector, report);
  const storage = parseQuantity(spec.resources?.requests?.['storage'] ?? '');
  if (storage === undefined) report.required(`${at}.spec.resources[storage]`);
  else if (storage.nano <= 0n)
    report.invalid(`${at}.spec.resources[storage]`, spec.resources?.requests?.['storage'], 'must be greater than zero');
  if (spec.volumeMode !== undefined) report.oneOf(`${at}.spec.volumeMode`, spec.volumeMode, ['Block', 'Filesystem']);
}

/** A token needs an account to stand for (S-162); reported after the whole specification, as in Kubernetes. */
export function validateTokensHaveAccount(spec: PodSpec, report: Report): void {
  if ((spec.serviceAccountName ?? '') !== '') return;
  for (const [i, volume] of (spec.volumes ?? []).entries()) {
    for (const [j, source] of (volume.projected?.sources ?? []).entries()) {
      if (source.serviceAccountToken === undefined) continue;
      const field = `spec.volumes[${i}].projected.sources[${j}].serviceAccountToken`;
      report.forbidden(field, 'must not be specified when serviceAccountName is not set');
    }
  }
}
