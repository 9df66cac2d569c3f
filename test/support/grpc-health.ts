// gRPC's health service (grpc.health.v1.Health) over plain bytes, for tests and benchmarks of probes.
import * as grpc from '@grpc/grpc-js';

const same = (bytes: Buffer): Buffer => bytes;
const check = {
  path: '/grpc.health.v1.Health/Check',
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
} as const;

export type HealthCheck = (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => void;

/** The name of the service that a request asks for. */
export const askedService = ({ request }: { readonly request: Buffer }): string => request.subarray(2).toString();

/** The bytes of an answer with that status. */
export const healthAnswer = (status: number): Buffer => Buffer.from([0x08, status]);

/** On a port the system chooses; without `answer` it serves nothing at all. */
export async function serveHealth(
  answer: HealthCheck | undefined,
  host: string,
): Promise<{ readonly server: grpc.Server; readonly port: number }> {
  const server = new grpc.Server();
  if (answer !== undefined) server.addService({ Check: check }, { Check: answer });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${host}:0`, grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return { server, port };
}
