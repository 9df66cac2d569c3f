// Validation of a Pod's metadata and of the annotations that have a meaning of their own (S-145 … S-155).
import type { AppArmorProfile, ObjectMeta, OwnerReference, PodSpec, SeccompProfile, Toleration } from '../gen/kubernetes.ts';
import { annotationKeys } from '../pod.ts';
import {
  byteLength,
  dnsLabel,
  dnsSubdomain,
  dnsSubdomainPrefix,
  labelValue,
  nonNegativeMessage,
  qualifiedName,
  relativePath,
} from './formats.ts';
import type { Report } from './report.ts';
import { validateTolerations } from './scheduling.ts';
import { containersWithPath } from './visit.ts';

const maxAnnotationBytes = 262_144;

/** S-145 … S-151 */
export function validateMetadata(metadata: ObjectMeta, report: Report): void {
  const { name = '', namespace = '', generateName = '' } = metadata;
  if (generateName !== '') report.invalidEach('metadata.generateName', generateName, dnsSubdomainPrefix(generateName));
  if (name === '') report.required('metadata.name', 'name or generateName is required');
  else report.invalidEach('metadata.name', name, dnsSubdomain(name));
  if (namespace === '') report.required('metadata.namespace');
  else report.invalidEach('metadata.namespace', namespace, dnsLabel(namespace));
  if ((metadata.generation ?? 0) < 0) report.invalid('metadata.generation', metadata.generation, nonNegativeMessage);
  validateLabels('metadata.labels', metadata.labels, report);
  validateAnnotations('metadata.annotations', metadata.annotations, report);
  validateOwners(metadata.ownerReferences ?? [], report);
  validateFinalizers(metadata.finalizers ?? [], report);
}

/** S-148; the key is not part of the path. */
export function validateLabels(field: string, labels: Readonly<Record<string, string>> | undefined, report: Report): void {
  for (const [key, value] of Object.entries(labels ?? {})) {
    report.invalidEach(field, key, qualifiedName(key));
    report.invalidEach(field, value, labelValue(value));
  }
}

/** S-149 */
function validateAnnotations(field: string, annotations: Readonly<Record<string, string>> | undefined, report: Report): void {
  let size = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    report.invalidEach(field, key, qualifiedName(key.toLowerCase()));
    size += byteLength(key) + byteLength(value);
  }
  if (size > maxAnnotationBytes) report.tooLong(field, maxAnnotationBytes);
}

/** S-150 */
function validateOwners(owners: readonly OwnerReference[], report: Report): void {
  const field = 'metadata.ownerReferences';
  let controller: string | undefined;
  for (const owner of owners) {
    if (owner.apiVersion === '') report.invalid(`${field}.apiVersion`, owner.apiVersion, 'version must not be empty');
    if (owner.kind === '') report.invalid(`${field}.kind`, owner.kind, 'must not be empty');
    if (owner.name === '') report.invalid(`${field}.name`, owner.name, 'must not be empty');
    if (owner.uid === '') report.invalid(`${field}.uid`, owner.uid, 'must not be empty');
    if (owner.apiVersion === 'v1' && owner.kind === 'Event')
      report.invalid(field, owner, '/v1, Kind=Event is disallowed from being an owner');
    if (owner.controller !== true) continue;
    const name = `${owner.kind}/${owner.name}`;
    if (controller === undefined) controller = name;
    else {
      const found = `Found "true" in references for ${controller} and ${name}`;
      report.invalid(field, owners, `Only one reference can have Controller set to true. ${found}`);
    }
  }
}

const standardFinalizers = ['kubernetes', 'orphan', 'foregroundDeletion'];

/** S-151 */
function validateFinalizers(finalizers: readonly string[], report: Report): void {
  const field = 'metadata.finalizers';
  for (const [i, finalizer] of finalizers.entries()) {
    report.invalidEach(field, finalizer, qualifiedName(finalizer));
    if (!finalizer.includes('/') && !standardFinalizers.includes(finalizer)) {
      report.invalid(`${field}[${i}]`, finalizer, 'name is neither a standard finalizer name nor is it fully qualified');
    }
  }
  if (finalizers.includes('orphan') && finalizers.includes('foregroundDeletion')) {
    report.invalid(field, finalizers, 'finalizer orphan and foregroundDeletion cannot be both set');
  }
}

const seccompPodKey = 'seccomp.security.alpha.kubernetes.io/pod';
const seccompContainerPrefix = 'container.seccomp.security.alpha.kubernetes.io/';
const appArmorPrefix = 'container.apparmor.security.beta.kubernetes.io/';
const tolerationsKey = 'scheduler.alpha.kubernetes.io/tolerations';
const deletionCostKey = 'controller.kubernetes.io/pod-deletion-cost';

/** S-152 … S-155, apart from the agreement with fields. */
export function validateSpecialAnnotations(metadata: ObjectMeta, spec: PodSpec, report: Report): void {
  const field = 'metadata.annotations';
  const annotations = metadata.annotations ?? {};
  const mirror = annotations[annotationKeys.configMirror];
  if (mirror !== undefined && (spec.nodeName ?? '') === '') {
    report.invalid(`${field}[${annotationKeys.configMirror}]`, mirror, 'must set spec.nodeName if mirror pod annotation is set');
  }
  const tolerations = annotations[tolerationsKey];
  if (tolerations !== undefined && tolerations !== '') validateTolerationsAnnotation(field, tolerations, report);
  const cost = annotations[deletionCostKey];
  if (cost !== undefined && !isCanonicalInt32(cost)) report.invalid(`${field}[${deletionCostKey}]`, cost, 'must be a 32bit integer');
  for (const [key, value] of Object.entries(annotations)) {
    if (key === seccompPodKey || key.startsWith(seccompContainerPrefix)) validateSeccompAnnotation(`${field}.${key}`, value, report);
  }
  const names = new Set(containersWithPath(spec).map(([, container]) => container.name));
  for (const [key, value] of Object.entries(annotations)) {
    if (!key.startsWith(appArmorPrefix)) continue;
    const name = key.slice(appArmorPrefix.length);
    if (!names.has(name)) report.invalid(`${field}[${key}]`, name, 'container not found');
    const isValid = value === '' || value === 'runtime/default' || value === 'unconfined' || value.startsWith('localhost/');
    if (!isValid) report.invalid(`${field}[${key}]`, value, `invalid AppArmor profile name: ${JSON.stringify(value)}`);
  }
}

function isCanonicalInt32(text: string): boolean {
  if (!/^-?(?:0|[1-9]\d{0,9})$/.test(text) || text === '-0') return false;
  const value = Number(text);
  return value >= -(2 ** 31) && value <= 2 ** 31 - 1;
}

function validateTolerationsAnnotation(field: string, text: string, report: Report): void {
  let tolerations: unknown;
  try {
    tolerations = JSON.parse(text);
  } catch {
    tolerations = undefined;
  }
  const isList = Array.isArray(tolerations) && tolerations.every((t) => typeof t === 'object' && t !== null);
  if (isList) validateTolerations(`${field}.${tolerationsKey}`, tolerations as readonly Toleration[], report);
  else report.invalid(field, tolerationsKey, 'must be a list of tolerations in JSON');
}

function validateSeccompAnnotation(field: string, value: string, report: Report): void {
  if (['runtime/default', 'docker/default', 'unconfined'].includes(value)) return;
  if (value.startsWith('localhost/')) {
    const path = value.slice('localhost/'.length);
    report.invalidEach(field, path, relativePath(path));
  } else {
    report.invalid(field, value, 'must be a valid seccomp profile');
  }
}

/** The last parts of S-154 and S-155: an annotation and its field must agree. */
export function validateAnnotationsMatchFields(metadata: ObjectMeta, spec: PodSpec, report: Report): void {
  const annotations = metadata.annotations ?? {};
  const podSeccomp = spec.securityContext?.seccompProfile;
  if (podSeccomp !== undefined) matchSeccomp('spec.securityContext.seccompProfile', annotations[seccompPodKey], podSeccomp, report);
  for (const [path, container] of containersWithPath(spec)) {
    const seccomp = container.securityContext?.seccompProfile;
    const annotation = annotations[`${seccompContainerPrefix}${container.name}`];
    if (seccomp !== undefined) matchSeccomp(`${path}.securityContext.seccompProfile`, annotation, seccomp, report);
  }
  if (spec.os?.name === 'windows') return;
  for (const [path, container] of containersWithPath(spec)) {
    const profile = container.securityContext?.appArmorProfile ?? spec.securityContext?.appArmorProfile;
    const annotation = annotations[`${appArmorPrefix}${container.name}`];
    if (profile !== undefined) matchAppArmor(`${path}.securityContext.appArmorProfile`, annotation, profile, report);
  }
}

function matchSeccomp(field: string, annotation: string | undefined, profile: SeccompProfile, report: Report): void {
  if (annotation === undefined) return;
  const wanted: Readonly<Record<string, readonly string[]>> = {
    Unconfined: ['unconfined'],
    RuntimeDefault: ['runtime/default', 'docker/default'],
  };
  if (profile.type === 'Localhost') {
    if (!annotation.startsWith('localhost/')) report.forbidden(`${field}.type`, 'seccomp type in annotation and field must match');
    else if (annotation.slice('localhost/'.length) !== profile.localhostProfile) {
      report.forbidden(`${field}.localhostProfile`, 'seccomp profile in annotation and field must match');
    }
  } else if (wanted[profile.type]?.includes(annotation) === false) {
    report.forbidden(`${field}.type`, 'seccomp type in annotation and field must match');
  }
}

function matchAppArmor(field: string, annotation: string | undefined, profile: AppArmorProfile, report: Report): void {
  if (annotation === undefined) return;
  const wanted: Readonly<Record<string, string>> = { Unconfined: 'unconfined', RuntimeDefault: 'runtime/default' };
  if (profile.type === 'Localhost') {
    if (!annotation.startsWith('localhost/')) report.forbidden(`${field}.type`, 'apparmor type in annotation and field must match');
    else if (annotation.slice('localhost/'.length) !== profile.localhostProfile) {
      report.forbidden(`${field}.localhostProfile`, 'apparmor profile in annotation and field must match');
    }
  } else if (wanted[profile.type] !== undefined && wanted[profile.type] !== annotation) {
    report.forbidden(`${field}.type`, 'apparmor type in annotation and field must match');
  }
}
