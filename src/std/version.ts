// Which version this is.

export const agentVersion = '0.1.0';
/** The Kubernetes release whose behaviour the agent follows. */
export const kubernetesVersion = '1.36.2';
