"""Users, entities, organizations and who belongs to what."""

from __future__ import annotations

from syncd.sandbox.errors import SandboxError, not_found
from syncd.sandbox.state.database import Database, now
from syncd.sandbox.state.records import Entity, Member, Organization, User

REGISTRY_PREFIX = "wandb-registry-"


def user(db: Database, row: int) -> User:
    """The user of a row id."""
    found = db.one(User, "SELECT * FROM users WHERE id = ?", (row,))
    assert found is not None
    return found


def user_by_name(db: Database, name: str) -> User | None:
    """A living user."""
    return db.one(User, "SELECT * FROM users WHERE name = ? AND deleted_at IS NULL", (name,))


def user_by_key(db: Database, api_key: str) -> User | None:
    """The living user who holds an API key."""
    return db.one(User, "SELECT * FROM users WHERE api_key = ? AND deleted_at IS NULL", (api_key,))


def search_users(db: Database, text: str | None) -> list[User]:
    """Users whose name or address is exactly `text`."""
    sql = "SELECT * FROM users WHERE deleted_at IS NULL AND (name = :text OR email = :text)"
    return db.all(User, sql, {"text": text})


def put_user(db: Database, name: str, *, api_key: str, admin: bool) -> User:
    """Add a user with a personal entity, or change the key of an existing one."""
    with db.transaction():
        known: int | None = db.value("SELECT id FROM users WHERE name = ?", (name,))
        if known is not None:
            db.update("users", known, api_key=api_key, admin=int(admin), deleted_at=None)
            return user(db, known)
        if entity_by_name(db, name) is not None:
            raise SandboxError(f"the name {name!r} is taken", status=409)
        row = db.insert(
            "users",
            name=name,
            email=f"{name}@sandbox.invalid",
            api_key=api_key,
            admin=int(admin),
            default_entity=name,
        )
        db.insert("entities", name=name, kind="user", user_id=row)
        return user(db, row)


def delete_user(db: Database, name: str) -> None:
    """Take a user's access away; the projects stay."""
    with db.transaction():
        db.execute("UPDATE users SET deleted_at = ? WHERE name = ?", (now(), name))


def set_default_entity(db: Database, who: User, name: str) -> None:
    """Make `name` the entity a user works in when none is given."""
    require_entity(db, name)
    db.update("users", who.id, default_entity=name)


def entity(db: Database, row: int) -> Entity:
    """The entity of a row id."""
    found = db.one(Entity, "SELECT * FROM entities WHERE id = ?", (row,))
    assert found is not None
    return found


def entity_by_name(db: Database, name: str) -> Entity | None:
    """The entity of a name."""
    return db.one(Entity, "SELECT * FROM entities WHERE name = ?", (name,))


def require_entity(db: Database, name: str) -> Entity:
    """The entity of a name, or an error."""
    found = entity_by_name(db, name)
    if found is None:
        raise not_found(f"entity {name!r}")
    return found


def organization(db: Database, row: int | None) -> Organization | None:
    """The organization of a row id."""
    return db.one(Organization, "SELECT * FROM organizations WHERE id = ?", (row,))


def organization_by_name(db: Database, name: str) -> Organization | None:
    """The organization of a display name, or of its entity's name."""
    sql = """
        SELECT o.* FROM organizations o JOIN entities e ON e.id = o.entity_id
        WHERE o.name = :name OR e.name = :name ORDER BY o.name <> :name LIMIT 1
    """
    return db.one(Organization, sql, {"name": name})


def organizations_of(db: Database, who: User) -> list[Organization]:
    """Organizations a user belongs to."""
    sql = """
        SELECT o.* FROM organizations o JOIN members m ON m.entity_id = o.entity_id
        WHERE m.user_id = ? ORDER BY o.id
    """
    return db.all(Organization, sql, (who.id,))


def teams_of(db: Database, who: User) -> list[Entity]:
    """Entities a user can work in, his own first."""
    sql = """
        SELECT e.* FROM entities e LEFT JOIN members m ON m.entity_id = e.id AND m.user_id = :user
        WHERE e.user_id = :user OR (e.kind = 'team' AND m.user_id IS NOT NULL)
        ORDER BY e.kind = 'team', e.id
    """
    return db.all(Entity, sql, {"user": who.id})


def members(db: Database, owner: Entity) -> list[Member]:
    """Who belongs to an entity; to a personal one its user."""
    sql = """
        SELECT m.entity_id, m.user_id, m.role, u.name, u.email
        FROM members m JOIN users u ON u.id = m.user_id WHERE m.entity_id = :entity
        UNION ALL SELECT e.id, u.id, 'admin', u.name, u.email
        FROM entities e JOIN users u ON u.id = e.user_id WHERE e.id = :entity ORDER BY 2
    """
    return db.all(Member, sql, {"entity": owner.id})


def sees(db: Database, who: User | None, owner: Entity) -> bool:
    """Whether a user sees the inside of an entity: a team is closed to those who are not in it."""
    if owner.kind != "team" or (who is not None and who.admin):
        return True
    sql = "SELECT 1 FROM members WHERE entity_id = ? AND user_id = ?"
    return who is not None and db.value(sql, (owner.id, who.id)) is not None


def join(db: Database, entity_id: int, username: str, role: str) -> None:
    """Make a user a member of a team or organization, or change the role."""
    who = user_by_name(db, username)
    if who is None:
        raise SandboxError(f"user {username!r} not found", status=404)
    sql = "INSERT OR REPLACE INTO members (entity_id, user_id, role) VALUES (?, ?, ?)"
    db.execute(sql, (entity_id, who.id, role))


def leave(db: Database, owner: Entity, user_id: int) -> None:
    """End a user's membership."""
    sql = "DELETE FROM members WHERE entity_id = ? AND user_id = ?"
    db.execute(sql, (owner.id, user_id))


def _free_name(db: Database, wanted: str) -> str:
    name, number = wanted, 1
    while entity_by_name(db, name) is not None:
        number += 1
        name = f"{wanted}-{number}"
    return name


def put_organization(db: Database, name: str, *, username: str) -> Organization:
    """Add an organization with its entity and first admin; an existing one stays as it is."""
    with db.transaction():
        known = db.one(Organization, "SELECT * FROM organizations WHERE name = ?", (name,))
        if known is None:
            # The entity has a name of its own, as on the real server: code must not mix the two up.
            owner = db.insert("entities", name=_free_name(db, f"{name}-org"), kind="organization")
            row = db.insert("organizations", name=name, entity_id=owner)
            db.update("entities", owner, organization_id=row)
            known = Organization(row, name, owner)
        join(db, known.entity_id, username, "admin")
        return known


def _require_organization(db: Database, name: str) -> Organization:
    found = organization_by_name(db, name)
    if found is None:
        raise SandboxError(f"organization {name!r} not found", status=404)
    return found


def delete_organization(db: Database, name: str) -> None:
    """Dissolve an organization: teams leave it, its registries can no longer be reached through it."""
    with db.transaction():
        found = organization_by_name(db, name)
        if found is None:
            return
        db.execute("DELETE FROM members WHERE entity_id = ?", (found.entity_id,))
        db.execute(
            "UPDATE entities SET organization_id = NULL WHERE organization_id = ?", (found.id,)
        )
        db.execute("DELETE FROM organizations WHERE id = ?", (found.id,))


def put_organization_member(db: Database, name: str, *, username: str, role: str) -> None:
    """Add a user to an organization, or change the role."""
    with db.transaction():
        join(db, _require_organization(db, name).entity_id, username, role)


def put_team(
    db: Database, name: str, *, organization_name: str | None, username: str, role: str = "admin"
) -> Entity:
    """Add a team and a member; an existing team gets the member too."""
    with db.transaction():
        owner = _require_organization(db, organization_name) if organization_name else None
        known = entity_by_name(db, name)
        if known is None:
            organization_id = owner.id if owner else None
            row = db.insert("entities", name=name, kind="team", organization_id=organization_id)
            known = entity(db, row)
        elif known.kind != "team":
            raise SandboxError(f"the name {name!r} is taken", status=409)
        join(db, known.id, username, role)
        return known
