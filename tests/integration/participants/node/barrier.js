// The participant's barrier of docs/participants.md, in one file without a dependency but gRPC's status codes.
//
// `rows` stands for the table, and a synchronous handler for its transaction: nothing comes between in one Node process.
// In a service with a database the same lines run inside the transaction that has the effect.
"use strict";

const crypto = require("node:crypto");
const grpc = require("@grpc/grpc-js");

class Refused extends Error {
  constructor(code, reason, details) {
    super(details);
    Object.assign(this, { code, details, metadata: withReason(code, reason, details) });
  }
}

function barrier(rows = new Map()) {
  const stored = (call) => {
    const row = rows.get(call.key);
    if (row.reply === undefined) {
      throw new Refused(grpc.status.FAILED_PRECONDITION, "SAGA_STEP_ALREADY_COMPENSATED", "its undo came first");
    }
    if (row.request !== call.request) {
      throw new Refused(grpc.status.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED", `${call.key} is another request's key`);
    }
    return row.reply;
  };
  const forward = (call, act) => {
    if (rows.has(call.key)) return stored(call);
    if (Date.now() / 1000 > call.notAfter) {
      throw new Refused(grpc.status.FAILED_PRECONDITION, "SAGA_NOT_AFTER_PASSED", "the call came too late");
    }
    const reply = act(call);
    rows.set(call.key, { request: call.request, reply });
    return reply;
  };
  const compensate = (call, act, nothing) => {
    if (rows.has(call.key)) return stored(call);
    const made = rows.get(call.forwardKey);
    const reply = made && made.reply !== undefined && !made.undone ? act(call) : nothing;
    rows.set(call.forwardKey, { ...made, undone: true });
    rows.set(call.key, { request: call.request, reply });
    return reply;
  };
  return { forward, compensate };
}

// A unary handler that reads the call's metadata, and answers what `run` returns or refuses.
function answering(run) {
  return (call, callback) => {
    const [key = "", forwardKey = "", notAfter = "Infinity"] = ["idempotency-key", "saga-forward-key", "saga-not-after"]
      .map((name) => call.metadata.get(name)[0]);
    const request = crypto.createHash("sha256").update(call.getPath() + JSON.stringify(call.request)).digest("hex");
    try {
      callback(null, run({ key, forwardKey, notAfter: Number(notAfter), request }, call.request));
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      callback(refused);
    }
  };
}

// google.rpc.Status with one ErrorInfo{reason}, written by hand: three messages of strings need no compiler.
function withReason(code, reason, details) {
  const text = (number, value) => field(number, Buffer.from(value));
  const info = text(1, reason);
  const packed = Buffer.concat([text(1, "type.googleapis.com/google.rpc.ErrorInfo"), field(2, info)]);
  const metadata = new grpc.Metadata();
  const status = Buffer.concat([Buffer.from([8, code]), text(2, details), field(3, packed)]);
  metadata.set("grpc-status-details-bin", status);
  return metadata;
}

function field(number, data) {
  const length = [];
  for (let rest = data.length; ; rest >>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), data]);
}

module.exports = { Refused, answering, barrier };
