"""The resources of the API and their methods, each written once for both clients."""

from typing import Generic, Unpack

from ally.objects import (
    ApiKey,
    Appointment,
    AuditEvent,
    Cancellation,
    CancellationReason,
    Coverage,
    Deleted,
    EndUser,
    EndUserToken,
    FrontendEvent,
    Organisation,
    Patient,
    Task,
    Usage,
    Window,
)
from ally.objects import Request as LoggedRequest
from ally.operations import ResourceOf, S, listing, operation
from ally.params import (
    ApiKeyChanges,
    ApiKeyInput,
    AppointmentChanges,
    AppointmentInput,
    AppointmentQuery,
    AuditQuery,
    AvailabilityQuery,
    CancellationInput,
    CoverageQuery,
    EndUserTokenInput,
    FrontendEventInput,
    ListOptions,
    Options,
    OrganisationChanges,
    PageOptions,
    PatientChanges,
    PatientInput,
    PatientQuery,
    PatientSearch,
    ReadOptions,
    RequestQuery,
    Rescheduling,
    RollInput,
    UsageQuery,
    WriteOptions,
)
from ally.requests import Request, ask


class Organisations(ResourceOf[S]):
    """Your own organisation, and no other."""

    @listing
    def list(self, **given: Unpack[ListOptions]) -> Request[Organisation]:
        """List your organisations: one."""
        return ask("GET", "/v1/organisations", Organisation, given)

    @operation
    def get(self, organisation: str, /, **given: Unpack[Options]) -> Request[Organisation]:
        """Return your organisation."""
        return ask("GET", "/v1/organisations/{}", Organisation, given, organisation)

    @operation
    def update(
        self, organisation: str, /, **given: Unpack[OrganisationChanges]
    ) -> Request[Organisation]:
        """Change the display name, how patients are written to, and what front ends may do.

        The new name of an active organisation waits for review.
        """
        return ask("POST", "/v1/organisations/{}", Organisation, given, organisation)


class Patients(ResourceOf[S]):
    """The people who receive care."""

    @operation
    def create(self, **given: Unpack[PatientInput]) -> Request[Patient]:
        """Create a patient."""
        return ask("POST", "/v1/patients", Patient, given)

    @listing
    def list(self, **given: Unpack[PatientQuery]) -> Request[Patient]:
        """List patients, newest first."""
        return ask("GET", "/v1/patients", Patient, given)

    @listing
    def search(self, **given: Unpack[PatientSearch]) -> Request[Patient]:
        """Find patients by what does not belong in a URL, newest first."""
        return ask("POST", "/v1/patients/search", Patient, given)

    @operation
    def get(self, patient: str, /, **given: Unpack[Options]) -> Request[Patient]:
        """Return a patient."""
        return ask("GET", "/v1/patients/{}", Patient, given, patient)

    @operation
    def update(self, patient: str, /, **given: Unpack[PatientChanges]) -> Request[Patient]:
        """Change a patient: what is left out stays, None unsets."""
        return ask("POST", "/v1/patients/{}", Patient, given, patient)

    @operation
    def delete(self, patient: str, /, **given: Unpack[Options]) -> Request[Deleted]:
        """Delete a patient who has no appointment to come.

        NotFoundError whose `attempts` are more than one: an earlier attempt may have done it.
        """
        return ask("DELETE", "/v1/patients/{}", Deleted, given, patient)


class Tasks(ResourceOf[S]):
    """What can be done in an appointment."""

    @listing
    def list(self, **given: Unpack[ListOptions]) -> Request[Task]:
        """List tasks, newest first."""
        return ask("GET", "/v1/tasks", Task, given)

    @operation
    def get(self, task: str, /, **given: Unpack[Options]) -> Request[Task]:
        """Return a task."""
        return ask("GET", "/v1/tasks/{}", Task, given, task)


class Availability(ResourceOf[S]):
    """When there is a place."""

    @listing
    def list(self, **given: Unpack[AvailabilityQuery]) -> Request[Window]:
        """List the windows that have a place for a task at a postcode, the soonest first."""
        return ask("GET", "/v1/availability", Window, given)


class Coverages(ResourceOf[S]):
    """Where Ally goes."""

    @operation
    def get(self, **given: Unpack[CoverageQuery]) -> Request[Coverage]:
        """Tell whether a postcode is served and, with a taskId, whether that task is offered."""
        return ask("GET", "/v1/coverage", Coverage, given)


class Appointments(ResourceOf[S]):
    """Visits: a practitioner meets a patient in a window to do a task."""

    @operation
    def create(self, **given: Unpack[AppointmentInput]) -> Request[Appointment]:
        """Request an appointment in a window of `availability.list`."""
        return ask("POST", "/v1/appointments", Appointment, given)

    @listing
    def list(self, **given: Unpack[AppointmentQuery]) -> Request[Appointment]:
        """List appointments, newest first."""
        return ask("GET", "/v1/appointments", Appointment, given)

    @operation
    def get(self, appointment: str, /, **given: Unpack[ReadOptions]) -> Request[Appointment]:
        """Return an appointment."""
        return ask("GET", "/v1/appointments/{}", Appointment, given, appointment)

    @operation
    def update(
        self, appointment: str, /, **given: Unpack[AppointmentChanges]
    ) -> Request[Appointment]:
        """Change an appointment: what is left out stays, None unsets."""
        return ask("POST", "/v1/appointments/{}", Appointment, given, appointment)

    @operation
    def reschedule(
        self, appointment: str, /, **given: Unpack[Rescheduling]
    ) -> Request[Appointment]:
        """Move an appointment to another window, as long as it has not begun."""
        return ask("POST", "/v1/appointments/{}/reschedule", Appointment, given, appointment)

    @operation
    def cancel(
        self, appointment: str, /, **given: Unpack[CancellationInput]
    ) -> Request[Cancellation]:
        """Cancel an appointment, once."""
        return ask("POST", "/v1/appointments/{}/cancel", Cancellation, given, appointment)

    @operation
    def cancellation(
        self, appointment: str, /, **given: Unpack[ReadOptions]
    ) -> Request[Cancellation]:
        """Return the cancellation of an appointment."""
        return ask("GET", "/v1/appointments/{}/cancellation", Cancellation, given, appointment)


class CancellationReasons(ResourceOf[S]):
    """Why appointments are cancelled, and when that is chargeable."""

    @listing
    def list(self, **given: Unpack[PageOptions]) -> Request[CancellationReason]:
        """List the reasons."""
        return ask("GET", "/v1/cancellation_reasons", CancellationReason, given)


class ApiKeys(ResourceOf[S]):
    """Keys of your organisation, in the mode of the client's own."""

    @operation
    def create(self, **given: Unpack[ApiKeyInput]) -> Request[ApiKey]:
        """Make a key that can do no more than this client's; the answer has its secret."""
        return ask("POST", "/v1/api_keys", ApiKey, given)

    @listing
    def list(self, **given: Unpack[ListOptions]) -> Request[ApiKey]:
        """List keys, newest first, also those that have ended."""
        return ask("GET", "/v1/api_keys", ApiKey, given)

    @operation
    def get(self, api_key: str, /, **given: Unpack[Options]) -> Request[ApiKey]:
        """Return a key, without its secret."""
        return ask("GET", "/v1/api_keys/{}", ApiKey, given, api_key)

    @operation
    def update(self, api_key: str, /, **given: Unpack[ApiKeyChanges]) -> Request[ApiKey]:
        """Change a key's name, or what it may do, from where, and until when."""
        return ask("POST", "/v1/api_keys/{}", ApiKey, given, api_key)

    @operation
    def roll(self, api_key: str, /, **given: Unpack[RollInput]) -> Request[ApiKey]:
        """Replace a key by a new one, shown with its secret; the old one lives for the overlap."""
        return ask("POST", "/v1/api_keys/{}/roll", ApiKey, given, api_key)

    @operation
    def revoke(self, api_key: str, /, **given: Unpack[WriteOptions]) -> Request[ApiKey]:
        """End a key and those that it replaced: within 15 seconds, everywhere."""
        return ask("POST", "/v1/api_keys/{}/revoke", ApiKey, given, api_key)

    @operation
    def reveal(self, api_key: str, /, **given: Unpack[WriteOptions]) -> Request[ApiKey]:
        """Show the secret of a test key again."""
        return ask("POST", "/v1/api_keys/{}/reveal", ApiKey, given, api_key)


class EndUsers(ResourceOf[S]):
    """The people who are signed in to your front ends."""

    @operation
    def revoke(self, uid: str, /, **given: Unpack[WriteOptions]) -> Request[EndUser]:
        """End the sessions of an end user: within 15 seconds, everywhere."""
        return ask("POST", "/v1/end_users/{}/revoke", EndUser, given, uid)


class Requests(ResourceOf[S]):
    """What was asked of the API for your organisation, for 30 days."""

    @listing
    def list(self, **given: Unpack[RequestQuery]) -> Request[LoggedRequest]:
        """List requests, newest first; one is there within 10 seconds after its answer."""
        return ask("GET", "/v1/requests", LoggedRequest, given)

    @operation
    def get(self, request: str, /, **given: Unpack[Options]) -> Request[LoggedRequest]:
        """Return a request: errors have its id as `request_id`."""
        return ask("GET", "/v1/requests/{}", LoggedRequest, given, request)


class AuditEvents(ResourceOf[S]):
    """Who saw or changed what belongs to patients, for 30 days."""

    @listing
    def list(self, **given: Unpack[AuditQuery]) -> Request[AuditEvent]:
        """List events, newest first; one is there within 10 seconds after the answer."""
        return ask("GET", "/v1/audit_events", AuditEvent, given)


class FrontendEvents(ResourceOf[S]):
    """What end users do in your front ends, counted for your usage."""

    @operation
    def create(self, **given: Unpack[FrontendEventInput]) -> Request[FrontendEvent]:
        """Count what happened in a front end; sent again after a failure it may count twice."""
        return ask("POST", "/v1/frontend_events", FrontendEvent, given)


class UsageCounts(ResourceOf[S]):
    """How the API is used."""

    @operation
    def get(self, **given: Unpack[UsageQuery]) -> Request[Usage]:
        """Count requests, errors, latency, bytes or people over time, in the key's mode."""
        return ask("GET", "/v1/usage", Usage, given)


class TestHelpers(ResourceOf[S]):
    """What only test mode can do."""

    @operation
    def create_end_user_token(self, **given: Unpack[EndUserTokenInput]) -> Request[EndUserToken]:
        """Make the ID token that an end user has after signing in; an API that runs locally can."""
        return ask("POST", "/v1/test_helpers/end_user_tokens", EndUserToken, given)


class Resources(Generic[S]):
    """All resources, of a client that sends in one way."""

    def __init__(self, sender: S) -> None:
        self._sender = sender
        self.organisations = Organisations(sender)
        self.patients = Patients(sender)
        self.tasks = Tasks(sender)
        self.availability = Availability(sender)
        self.coverage = Coverages(sender)
        self.appointments = Appointments(sender)
        self.cancellation_reasons = CancellationReasons(sender)
        self.end_users = EndUsers(sender)
        self.frontend_events = FrontendEvents(sender)
        self.api_keys = ApiKeys(sender)
        self.requests = Requests(sender)
        self.audit_events = AuditEvents(sender)
        self.usage = UsageCounts(sender)
        self.test_helpers = TestHelpers(sender)
