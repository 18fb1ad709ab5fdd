export class TrackingError extends Error {
    code;
    entity;
    name = 'TrackingError';
    constructor(code, message, entity, options) {
        super(message, options);
        this.code = code;
        this.entity = entity;
    }
}
export function keyOf(type, id) {
    return `${type}:${id}`;
}
