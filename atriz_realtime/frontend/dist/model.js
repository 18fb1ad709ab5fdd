/** A refusal by the server, or a token that could not be had. */
export class TrackingError extends Error {
    code;
    entity;
    name = 'TrackingError';
    constructor(
    /** The server's code, such as `unauthorized`; `token_unavailable` when the callback failed. */
    code, message, 
    /** The entity that was refused, when one was. */
    entity, options) {
        super(message, options);
        this.code = code;
        this.entity = entity;
    }
}
/** The string that stands for an entity in maps: types have no colon. */
export function keyOf(type, id) {
    return `${type}:${id}`;
}
