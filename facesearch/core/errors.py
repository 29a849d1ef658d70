"""The tree of errors that facesearch raises.

Every class carries a stable ``code``, the exit status of the command line and the HTTP status of the service. Translating an
error into either happens at the entry points, not here.
"""

from __future__ import annotations

from typing import ClassVar


class FaceSearchError(Exception):
    """Base of every error that facesearch raises on purpose.

    Args:
        message: One sentence for a person; says both values where two disagree.
        **context: Plain values (paths, sizes, labels, boxes) for programs; never vectors or pixels.
    """

    code: ClassVar[str] = "internal_error"
    exit_code: ClassVar[int] = 70
    status: ClassVar[int] = 500

    def __init__(self, message: str, **context: object) -> None:
        super().__init__(message)
        self.message = message
        self.context = context


class InputError(FaceSearchError):
    """What the caller handed over cannot be used."""

    code = "bad_input"
    exit_code = 2
    status = 422


class ImageDecodeError(InputError):
    """The bytes, file or array are no picture that can be decoded."""

    code = "image_undecodable"


class ImageTooLargeError(InputError):
    """The picture exceeds the limit of bytes or pixels; nothing of it was decoded."""

    code = "image_too_large"
    status = 413


class BodyTooLargeError(InputError):
    """A request is longer, or has more parts, than the service takes."""

    code = "body_too_large"
    status = 413


class UnsupportedMediaTypeError(InputError):
    """A request's body is of a type that the service does not read."""

    code = "unsupported_media_type"
    status = 415


class VideoDecodeError(InputError):
    """The file is no video that can be read."""

    code = "video_undecodable"


class NoFaceError(InputError):
    """No face was found where at least one is needed."""

    code = "no_face"


class SeveralFacesError(InputError):
    """Several faces were found where one was expected; ``context["boxes"]`` lists them."""

    code = "several_faces"


class LowQualityFaceError(InputError):
    """The face found cannot be aligned or is too poor to be used."""

    code = "low_quality_face"


class LabelError(InputError):
    """A label, tag or collection name is empty, too long or has forbidden characters."""

    code = "bad_label"


class ProtocolFileError(InputError):
    """A list of pairs, people or labels does not have the expected form."""

    code = "bad_protocol_file"


class CropStoreError(InputError):
    """A store of crops, or a list of what was cleaned from it, is missing, unfinished, damaged or of another one."""

    code = "bad_crop_store"


class TrainingPlanError(InputError):
    """A plan of training has an unknown name, a value out of range, or two that contradict each other."""

    code = "bad_training_plan"


class EnrollmentError(FaceSearchError):
    """The request contradicts what is enrolled."""

    code = "enrollment_conflict"
    exit_code = 3
    status = 409


class UnknownIdentityError(EnrollmentError):
    """No identity has this label or id in the collection."""

    code = "unknown_identity"
    status = 404


class UnknownCollectionError(EnrollmentError):
    """No collection has this name."""

    code = "unknown_collection"
    status = 404


class UnknownFeedbackError(EnrollmentError):
    """No feedback has this id."""

    code = "unknown_feedback"
    status = 404


class UnknownTemplateError(EnrollmentError):
    """No template, or no picture of one, has this id."""

    code = "unknown_template"
    status = 404


class UnknownJobError(EnrollmentError):
    """No job has this id; jobs are forgotten a week after their end."""

    code = "unknown_job"
    status = 404


class JobOverError(EnrollmentError):
    """The job is done, cancelled or failed, and takes nothing more."""

    code = "job_over"


class PreconditionFailedError(EnrollmentError):
    """What was to be changed was changed by somebody else since it was read."""

    code = "precondition_failed"
    status = 412


class UnknownVideoError(EnrollmentError):
    """No video of this name or id is indexed."""

    code = "unknown_video"
    status = 404


class VideoIndexedError(EnrollmentError):
    """The video is indexed already."""

    code = "video_indexed"


class LabelTakenError(EnrollmentError):
    """The label or collection name exists already."""

    code = "label_taken"


class DuplicateTemplateError(EnrollmentError):
    """The same face of the same photograph is enrolled already."""

    code = "duplicate_template"


class DuplicatePersonError(EnrollmentError):
    """The face belongs, by the decision rule, to somebody enrolled under another label."""

    code = "duplicate_person"


class IdentityMismatchError(EnrollmentError):
    """The face resembles none of the photographs enrolled under this label."""

    code = "identity_mismatch"


class MigrationError(EnrollmentError):
    """A collection cannot be moved to another embedder as asked, or what was made for it does not hold up; nothing was switched."""

    code = "migration_refused"


class TemplateError(FaceSearchError):
    """Templates cannot be used together or read back."""

    code = "template_error"
    exit_code = 3
    status = 409


class IncompatibleTemplatesError(TemplateError):
    """Two templates, or a template and a gallery, come from different embedders."""

    code = "incompatible_templates"


class TemplateFormatError(TemplateError):
    """Stored template bytes do not have the expected form."""

    code = "template_format"
    status = 500


class GalleryError(FaceSearchError):
    """The vector index cannot serve."""

    code = "gallery_unavailable"
    exit_code = 4
    status = 503


class GalleryStaleError(GalleryError):
    """The index lags behind the database and could not be caught up."""

    code = "gallery_stale"


class GalleryFormatError(GalleryError):
    """An index snapshot or an exported collection is damaged or of an unknown format version."""

    code = "gallery_format"


class ModelError(FaceSearchError):
    """A network cannot be loaded or run."""

    code = "model_error"
    exit_code = 5
    status = 503


class UnknownEmbedderError(ModelError):
    """No embedder is registered under this name."""

    code = "unknown_embedder"


class CheckpointNotFoundError(ModelError):
    """The file with a network's weights does not exist."""

    code = "checkpoint_not_found"


class CheckpointDigestError(ModelError):
    """The file with a network's weights is not the one that was published."""

    code = "checkpoint_digest"


class CheckpointFormatError(ModelError):
    """The file with a network's weights has wrong tensors or is no checkpoint."""

    code = "checkpoint_format"


class ModelFileError(ModelError):
    """A file given as an embedder is no model, or lacks a part of itself."""

    code = "bad_model_file"


class TrainingDivergedError(ModelError):
    """The loss of a training run is no number any more."""

    code = "training_diverged"


class UnsupportedModelError(ModelError):
    """A model can be read, but nothing here can run it, or what it returns is no template."""

    code = "unsupported_model"


class ModelDescriptionError(ModelError):
    """What a model wants was not said, or was said wrongly."""

    code = "bad_model_description"


class ModelTakenError(ModelError):
    """Another embedder has this name already."""

    code = "model_taken"


class ModelLicenceError(ModelError):
    """The licence of an embedder is not open, and nobody accepted it."""

    code = "licence_not_accepted"


class ModelFetchError(ModelError):
    """A model's official file could not be downloaded whole."""

    code = "fetch_failed"


class UncalibratedEmbedderError(ModelError):
    """Nobody has measured yet which score of this embedder means the same person."""

    code = "uncalibrated_embedder"
    status = 409


class EngineError(ModelError):
    """An inference engine is missing, or failed to compile or run a network."""

    code = "engine_error"


class OperatingPointError(ModelError):
    """The embedder has no operating point that the request can be decided at."""

    code = "no_operating_point"
    status = 422


class StoreError(FaceSearchError):
    """The database, or another file that must be written, failed."""

    code = "store_error"
    exit_code = 6
    status = 503


class SchemaVersionError(StoreError):
    """The database's schema is not the one this release works with."""

    code = "schema_version"


class FileWriteError(StoreError):
    """A result, crop or snapshot could not be written (permissions, no space left)."""

    code = "file_write"


class AuditError(StoreError):
    """The audit log was tampered with, or its key or head file is missing or open to others: nothing is appended to it."""

    code = "audit_broken"


class AccessError(FaceSearchError):
    """Who asks may not have what is asked for."""

    code = "access_denied"
    exit_code = 7
    status = 403


class UnauthorizedError(AccessError):
    """No API key was given, or none that is valid; which of the two, and why, is not told."""

    code = "unauthorized"
    status = 401


class ForbiddenError(AccessError):
    """The API key lacks the scope or the collection."""

    code = "forbidden"


class RateLimitedError(AccessError):
    """The API key made more requests than it may; ``context["retry_after_s"]`` says when it may ask again."""

    code = "rate_limited"
    status = 429


class UnknownKeyError(AccessError):
    """No API key has this id."""

    code = "unknown_key"
    status = 404


class ServiceError(FaceSearchError):
    """The service cannot take a request now, or not as it was sent."""

    code = "service_unavailable"
    exit_code = 8
    status = 503


class OverloadedError(ServiceError):
    """More requests wait than the service keeps; ``context["retry_after_s"]`` says when to ask again."""

    code = "overloaded"


class JobMemoryFullError(ServiceError):
    """The photographs of jobs fill the memory they may take; ``context`` says how much is left."""

    code = "job_memory_full"
    status = 429


class RequestTimeoutError(ServiceError):
    """A request took longer than the service allows, and was given up."""

    code = "request_timeout"
    status = 504


class IdempotencyConflictError(ServiceError):
    """An idempotency key was used for another request, or its request is still being worked on (``retry_after_s``)."""

    code = "idempotency_conflict"
    status = 409


class SlowBodyError(ServiceError):
    """The body of a request did not arrive in time."""

    code = "slow_body"
    status = 408


class SettingsError(FaceSearchError):
    """A setting has a wrong value or an unknown name."""

    code = "bad_settings"
    exit_code = 2
    status = 500
