// A box office on @grpc/grpc-js that keeps the participant's barrier.
"use strict";

const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const { ReflectionService } = require("@grpc/reflection");
const { Refused, answering, barrier } = require("./barrier");

const file = path.join(__dirname, "theatre.proto");
const definition = loader.loadSync(file, { keepCase: true, longs: Number, defaults: true });
const { theatre } = grpc.loadPackageDefinition(definition);

const SEATS_MAX = 8;
const reservations = new Map();
const { forward, compensate } = barrier();
let last = 0;

const methods = {
  Reserve: answering((call, { client, seats }) => forward(call, () => {
    if (seats > SEATS_MAX) {
      throw new Refused(grpc.status.FAILED_PRECONDITION, "TOO_MANY_SEATS", `${SEATS_MAX} seats are sold at once`);
    }
    const reservation = { reservation_id: `R${++last}`, client };
    reservations.set(call.key, reservation);
    return reservation;
  })),
  Release: answering((call) => compensate(
    call, () => ({ released: Number(reservations.delete(call.forwardKey)) }), { released: 0 },
  )),
  List({ request }, reply) {
    reply(null, { reservations: [...reservations.values()].filter(({ client }) => client === request.client) });
  },
};

const server = new grpc.Server();
server.addService(theatre.v1.BoxOffice.service, methods);
new ReflectionService(definition).addToServer(server);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`listening 127.0.0.1:${port}`);
});
process.on("SIGTERM", () => server.forceShutdown());
