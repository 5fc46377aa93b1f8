-- Until when each user has used up the rate of their starts, so that it holds over all gateways, and removed desktops count.
ALTER TABLE users ADD COLUMN starts_until BIGINT;
