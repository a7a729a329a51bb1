// A plain gRPC service on @grpc/grpc-js: no idempotency keys, no barrier, no idea of sagas.
"use strict";

const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const { ReflectionService } = require("@grpc/reflection");

const definition = loader.loadSync(path.join(__dirname, "hotel.proto"), { keepCase: true, longs: Number, defaults: true });
const { hotel } = grpc.loadPackageDefinition(definition);

const PRICE_A_NIGHT = 100;
const CREDIT = 500;
const bookings = new Map();
let last = 0;

const refuse = (details) => ({ code: grpc.status.FAILED_PRECONDITION, details });

const methods = {
  Book({ request }, reply) {
    const booking_id = `B${++last}`;
    const booking = { booking_id, guest: request.guest, nights: request.nights, price: PRICE_A_NIGHT * request.nights };
    bookings.set(booking_id, booking);
    reply(null, booking);
  },
  Cancel({ request }, reply) {
    if (!bookings.delete(request.booking_id)) {
      return reply({ code: grpc.status.NOT_FOUND, details: `no booking ${request.booking_id}` });
    }
    return reply(null, {});
  },
  Charge({ request }, reply) {
    if (request.amount > CREDIT) {
      return reply(refuse(`${request.amount} is over the credit of ${CREDIT}`));
    }
    return reply(null, { receipt: `${request.booking_id}/${request.amount}` });
  },
  List(_, reply) {
    reply(null, { bookings: [...bookings.values()] });
  },
};

const server = new grpc.Server();
server.addService(hotel.v1.Hotel.service, methods);
new ReflectionService(definition).addToServer(server);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) {
    throw error;
  }
  console.log(`listening 127.0.0.1:${port}`);
});
process.on("SIGTERM", () => server.forceShutdown());
