"""What the application has for all requests of one worker."""

import asyncio
from collections import Counter
from uuid import UUID

from backend.background import Background
from backend.config import Settings
from backend.db import Database
from backend.mail import Mailer
from backend.outside import Outside
from backend.replica import Replica
from backend.security.sealing import Seal
from backend.security.tokens import Keys


class State:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings)
        self.replica = Replica(settings, settings.database_replica_url) if settings.database_replica_url else None
        self.seal = Seal(*settings.secrets)
        self.keys = Keys(settings.secrets, settings.access_token_minutes * 60, settings.token_algorithm)
        self.ring_read_at = float("-inf")  # monotonic
        self.ring_opens = True
        self.ring_turn = asyncio.Lock()
        self.signing_in: Counter[str] = Counter()  # by address
        self.listening: Counter[UUID] = Counter()  # connections to events, by user
        self.delivered: Counter[str] = Counter()  # messages to webhooks: taken, failed
        self.sign_ins = asyncio.Semaphore(2)
        self.mailer = Mailer(settings)
        self.outside = Outside(settings)
        self.later = Background()
        self.proxy_told = False  # that one in front should be named

    async def close(self) -> None:
        await self.later.close()
        await self.mailer.settled()
        await self.outside.close()
        await self.database.close()
        if self.replica:
            await self.replica.database.close()
