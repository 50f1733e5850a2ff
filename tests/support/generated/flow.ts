/**
 * From a patient to an appointment, and what may come later, with the generated TypeScript client.
 *
 * It prints as JSON what it read, in the same words as flow.py beside it.
 */

import * as ally from "ally-generated";

const settings = process.env as Record<
  "ALLY_URL" | "ALLY_KEY" | "ALLY_LATER_URL" | "ALLY_PAUSED",
  string
>;
const connect = (url: string) =>
  new ally.Configuration({ basePath: url, apiKey: settings.ALLY_KEY });

const configuration = connect(settings.ALLY_URL);
const patients = new ally.PatientsApi(configuration);
const tasks = new ally.TasksApi(configuration);
const availability = new ally.AvailabilityApi(configuration);
const appointments = new ally.AppointmentsApi(configuration);

/** Return what an API refused with, as the generated client reads it. */
async function refusal(request: Promise<unknown>) {
  try {
    await request;
  } catch (refused) {
    if (!(refused instanceof ally.ResponseError)) throw refused;
    const { response } = refused;
    return { response, error: ally.ErrorEnvelopeFromJSON(await response.json()).error };
  }
  throw new Error("It was not refused.");
}

// Create a patient, safely even where the answer is lost.
const address = { line1: "10 Example Street", city: "London", postcode: "SW1A 1AA" };
const wanted: ally.PatientInput = {
  firstName: "Grace",
  lastName: "Hopper",
  phone: "+447400123456",
  email: "grace@example.com",
  dateOfBirth: new Date(1985, 11, 10),
  note: "The bell is broken.",
  address,
  metadata: { ward: "7B" },
};
const patient = await patients.createPatient({ patientInput: wanted, idempotencyKey: "grace-1" });
const again = await patients.createPatient({ patientInput: wanted, idempotencyKey: "grace-1" });

// Change it: what is null is unset, what is left out stays.
const changed = await patients.updatePatient({
  patient: patient.id,
  patientChanges: { note: null, metadata: { ward: null, bed: "3" } },
});

// Choose a task and a window, and create an appointment.
const task = (await tasks.listTasks()).data.find((each) => each.name === "Venepuncture")!;
const tomorrow = new Date(Date.now() + 24 * 60 * 60 * 1000);
const windows = await availability.listAvailability({
  taskId: task.id,
  postcode: address.postcode,
  fromDate: tomorrow,
});
const window = windows.data[0];
const appointment = await appointments.createAppointment({
  appointmentInput: {
    patientId: patient.id,
    taskId: task.id,
    windowId: window.id,
    phone: patient.phone,
    location: { address },
    metadata: { order: "A-17" },
  },
});
const full = await appointments.getAppointment({
  appointment: appointment.id,
  expand: ["patient", "task"],
});

// Page through a list, and narrow it.
const pages: string[][] = [];
let page: ally.PatientList | undefined;
do {
  page = await patients.listPatients({ limit: 2, startingAfter: page?.data.at(-1)?.id });
  pages.push(page.data.map((each) => each.id));
} while (page.hasMore);
const older = await patients.listPatients({ createdAtLt: patient.createdAt.toISOString() });

// What is wrong with a request, and what the world refuses.
const wrong = await refusal(
  patients.createPatient({
    patientInput: { ...wanted, address: { ...address, postcode: "NOWHERE" }, chi: "12" },
  }),
);
const cancellationInput: ally.CancellationInput = {
  cancellingEntity: "patient",
  reasonCode: "other",
};
const cancelled = await appointments.cancelAppointment({
  appointment: appointment.id,
  cancellationInput,
});
const refused = await refusal(
  appointments.cancelAppointment({ appointment: appointment.id, cancellationInput }),
);

// What this client was made too early to know.
const later = new ally.AppointmentsApi(connect(settings.ALLY_LATER_URL));
const paused = await later.getAppointment({
  appointment: settings.ALLY_PAUSED,
  expand: ["patient"],
});
const laterRefused = await refusal(later.getAppointment({ appointment: "apt_" + "0".repeat(22) }));

console.log(
  JSON.stringify({
    patient: {
      id: patient.id,
      same: again.id === patient.id,
      born: ally.serializeDate(patient.dateOfBirth),
      postcode: patient.address?.postcode,
      metadata: patient.metadata,
    },
    changed: { note: changed.note, email: changed.email, metadata: changed.metadata },
    appointment: {
      id: full.id,
      status: full.status,
      postcode: full.location.address.postcode,
      inWindow: full.window?.startAt.getTime() === window.startAt.getTime(),
      patient: full.patient?.lastName,
      task: full.task?.name,
      data: full.data,
    },
    pages,
    older: older.data.map((each) => each.id),
    wrong: {
      status: wrong.response.status,
      type: wrong.error.type,
      code: wrong.error.code,
      errors: wrong.error.errors?.map(({ param, code }) => ({ param, code })),
      requestId: wrong.error.requestId === wrong.response.headers.get("Request-Id"),
    },
    cancelled: { reason: cancelled.reasonCode, by: cancelled.cancellingEntity },
    refused: { status: refused.response.status, code: refused.error.code },
    later: { status: paused.status, patient: paused.patient?.id },
    laterRefused: {
      status: laterRefused.response.status,
      type: laterRefused.error.type,
      code: laterRefused.error.code,
    },
  }),
);
