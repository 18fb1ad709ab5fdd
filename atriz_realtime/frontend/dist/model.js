/** The server refused something or was not reached, or the token callback failed. */
export class TrackingError extends Error {
    code;
    entity;
    name = 'TrackingError';
    constructor(
    /**
     * The error code of the server, such as `unauthorized`; or one of the client: `token_unavailable`, `unreachable`,
     * `unreadable`, `unavailable`, `wrong_path`, `origin_refused`, `refused` or `closed`.
     */
    code, message, 
    /** The entity that was refused, if it was one. */
    entity, options) {
        super(message, options);
        this.code = code;
        this.entity = entity;
    }
}
/** The key of an entity in maps; it is unique, since types have no colon. */
export function keyOf(type, id) {
    return `${type}:${id}`;
}
