"""The usual way: a task manager as the tutorials of FastAPI and SQLModel teach it, with sensible indexes.

It imports nothing of Tend, and is served as Tend is. What it leaves out (versions, conditional requests, the wall,
refresh tokens, cursors) only makes it faster.
"""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, status
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from jose import JWTError, jwt
from passlib.context import CryptContext
from sqlalchemy import DateTime, Index, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, Session, SQLModel, col, create_engine, func, or_, select

SECRET_KEY = os.environ["JWT_SECRET"]
ALGORITHM = "HS256"
ACCESS_TOKEN_EXPIRE_MINUTES = 60

engine = create_engine(os.environ["DATABASE_URL"], pool_size=10, max_overflow=20)
passwords: Any = CryptContext(schemes=["argon2"])  # type: ignore[no-untyped-call]
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")


def now() -> datetime:
    return datetime.now(UTC)


class Priority(StrEnum):
    low = "low"
    medium = "medium"
    high = "high"


class Own(SQLModel):
    metadata = MetaData()  # the process that serves it knows Tend's tables, too


class User(Own, table=True):
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    email: str = Field(unique=True, index=True)
    name: str
    hashed_password: str | None = None


class TaskBase(Own):
    title: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    priority: Priority = Priority.medium
    due_date: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    tags: list[str] = Field(default=[], sa_type=JSONB)
    completed: bool = False


class Task(TaskBase, table=True):
    __table_args__ = (
        Index("ix_task_user_id_created_at", "user_id", "created_at"),
        Index("ix_task_user_id_due_date", "user_id", "due_date"),
        Index("ix_task_tags", "tags", postgresql_using="gin"),
    )

    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    user_id: uuid.UUID = Field(foreign_key="user.id", index=True)
    created_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))


class TaskCreate(TaskBase):
    pass


class TaskPublic(TaskBase):
    id: uuid.UUID
    created_at: datetime
    updated_at: datetime


class TaskPage(SQLModel):
    items: list[TaskPublic]
    total: int


class Token(SQLModel):
    access_token: str
    token_type: str


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


def get_current_user(session: SessionDep, token: Annotated[str, Depends(oauth2_scheme)]) -> User:
    credentials_exception = HTTPException(
        status_code=status.HTTP_401_UNAUTHORIZED,
        detail="Could not validate credentials",
        headers={"WWW-Authenticate": "Bearer"},
    )
    try:
        payload = jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM])
        user_id = uuid.UUID(payload["sub"])
    except (JWTError, KeyError, ValueError):
        raise credentials_exception from None
    user = session.get(User, user_id)
    if user is None:
        raise credentials_exception
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    Own.metadata.create_all(engine)
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/token")
def login(session: SessionDep, form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Token:
    user = session.exec(select(User).where(User.email == form.username)).first()
    if not user or not passwords.verify(form.password, user.hashed_password):
        raise HTTPException(status_code=status.HTTP_401_UNAUTHORIZED, detail="Incorrect username or password")
    expires = now() + timedelta(minutes=ACCESS_TOKEN_EXPIRE_MINUTES)
    encoded = jwt.encode({"sub": str(user.id), "exp": expires}, SECRET_KEY, algorithm=ALGORITHM)
    return Token(access_token=encoded, token_type="bearer")


@app.get("/tasks", response_model=TaskPage)
def read_tasks(
    session: SessionDep,
    user: CurrentUser,
    completed: bool | None = None,
    priority: Priority | None = None,
    tags: Annotated[list[str] | None, Query()] = None,
    search: str | None = None,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> object:
    conditions = [col(Task.user_id) == user.id]
    if completed is not None:
        conditions.append(col(Task.completed) == completed)
    if priority is not None:
        conditions.append(col(Task.priority) == priority)
    if tags:
        conditions.append(col(Task.tags).contains(tags))
    if search:
        pattern = f"%{search}%"
        conditions.append(or_(col(Task.title).ilike(pattern), col(Task.description).ilike(pattern)))
    total = session.exec(select(func.count()).select_from(Task).where(*conditions)).one()
    tasks = session.exec(
        select(Task).where(*conditions).order_by(col(Task.created_at).desc()).offset(offset).limit(limit)
    ).all()
    return {"items": tasks, "total": total}


@app.post("/tasks", response_model=TaskPublic, status_code=201)
def create_task(session: SessionDep, user: CurrentUser, task: TaskCreate) -> object:
    created = Task.model_validate(task, update={"user_id": user.id})
    session.add(created)
    session.commit()
    session.refresh(created)
    return created


@app.post("/tasks/batch", response_model=list[TaskPublic], status_code=201)
def create_tasks(session: SessionDep, user: CurrentUser, tasks: list[TaskCreate]) -> object:
    created = [Task.model_validate(task, update={"user_id": user.id}) for task in tasks]
    session.add_all(created)
    session.commit()
    for task in created:
        session.refresh(task)
    return created
